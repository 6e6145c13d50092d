"use strict";
let drawn = null; // the element and the 3Dmol viewer in it, which outlive a change of the atoms

function drawScene() {
  const place = document.getElementById("viewer");
  const source = document.getElementById("scene");
  if (!place || !source) return;
  const scene = JSON.parse(source.textContent);
  const message = place.querySelector("p");
  try {
    const isFirst = drawn === null;
    if (isFirst) drawn = { place, viewer: $3Dmol.createViewer(place, { backgroundColor: "white", antialias: true }) };
    else place.replaceWith(drawn.place);
    fill(drawn.viewer, scene);
    if (isFirst) {
      drawn.viewer.zoomTo();
      drawn.viewer.zoom(1.1 * Math.min(1, place.clientWidth / place.clientHeight));
      drawn.viewer.rotate(-12, "x");
      drawn.viewer.rotate(18, "y");
    }
    drawn.viewer.render();
    if (message) message.remove();
  } catch (error) {
    drawn = null;
    if (message) message.textContent = "This browser cannot draw the atoms: it has no WebGL.";
  }
}

function fill(viewer, scene) {
  const from = ([x, y, z]) => ({ x, y, z });
  viewer.removeAllModels();
  viewer.removeAllShapes();
  const atoms = scene.symbols.map((elem, serial) => ({ elem, serial, ...from(scene.positions[serial]), bonds: [], bondOrder: [] }));
  for (const [i, j] of scene.bonds) {
    for (const [one, other] of [[i, j], [j, i]]) {
      atoms[one].bonds.push(other);
      atoms[one].bondOrder.push(1);
    }
  }
  viewer.addModel().addAtoms(atoms);
  for (const [elem, { color, radius }] of Object.entries(scene.styles))
    viewer.setStyle({ elem }, { sphere: { color, radius }, ...(scene.bonds.length ? { stick: { color, radius: 0.11 } } : {}) });
  const lengths = scene.edges.map(([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]));
  const radius = Math.min(0.12, 0.003 * Math.max(0, ...lengths));
  for (const [start, end] of scene.edges)
    viewer.addCylinder({ start: from(start), end: from(end), radius, color: "#6b7680", fromCap: 2, toCap: 2 });
}
