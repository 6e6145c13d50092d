// To be called before the atoms are drawn: it compares the sections as they were sent.
function keepLive(seconds, version) {
  const sections = (page) => page.querySelectorAll("main > [id]");
  const sent = new Map([...sections(document)].map((section) => [section.id, section.outerHTML]));

  // Pictures are decoded first, so that nothing flickers and all heights are known at once.
  async function prepared(fresh) {
    document.adoptNode(fresh);
    await Promise.all([...fresh.querySelectorAll("img")].map((image) => image.decode().catch(() => null)));
    return fresh;
  }

  function replace(old, fresh) {
    const open = [...old.querySelectorAll("details")].map((details) => details.open);
    old.replaceWith(fresh);
    fresh.querySelectorAll("details").forEach((details, k) => { details.open = open[k]; });
    if (fresh.id === "structure") drawScene();
  }

  async function refresh() {
    const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
    const changed = [...sections(page)].filter((section) => sent.get(section.id) !== section.outerHTML);
    for (const section of changed) sent.set(section.id, section.outerHTML);
    await Promise.all(changed.map(prepared));
    const first = [...sections(document)].find((section) => section.getBoundingClientRect().bottom > 0);
    const place = () => (first ? document.getElementById(first.id).getBoundingClientRect().top : 0);
    const before = place();
    for (const fresh of changed) replace(document.getElementById(fresh.id), fresh);
    window.scrollBy({ top: place() - before, behavior: "instant" });
  }

  async function look() {
    try {
      const found = await (await fetch("/version")).text();
      if (found !== version) await refresh();
      version = found;
      setTimeout(look, 1000 * seconds);
    } catch (error) {
      document.querySelector("#head .live").textContent = "This page no longer follows the run: its server has ended.";
    }
  }

  document.documentElement.style.overflowAnchor = "none"; // the place in the window is kept here
  setTimeout(look, 1000 * seconds);
}
