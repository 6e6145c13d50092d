// To be called before the atoms are drawn: it compares the sections as they were sent.
function keepLive(seconds, version) {
  const sections = (page) => page.querySelectorAll("main > [id]");
  const sent = new Map([...sections(document)].map((section) => [section.id, section.outerHTML]));

  function say(text) {
    const line = document.querySelector("#head .live");
    line.hidden = false;
    line.textContent = text;
  }

  function replace(old, fresh) {
    const open = [...old.querySelectorAll("details")].map((details) => details.open);
    old.replaceWith(document.adoptNode(fresh));
    fresh.querySelectorAll("details").forEach((details, k) => { details.open = open[k]; });
    if (fresh.id === "structure") drawScene();
  }

  async function refresh() {
    const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
    const top = window.scrollY;
    for (const old of sections(document)) {
      const fresh = page.getElementById(old.id);
      const source = fresh ? fresh.outerHTML : "";
      if (!fresh || sent.get(old.id) === source) continue;
      sent.set(old.id, source);
      replace(old, fresh);
    }
    window.scrollTo({ top, behavior: "instant" });
  }

  async function look() {
    try {
      const found = await (await fetch("/version")).text();
      if (found !== version) await refresh();
      version = found;
      say("This page follows the run.");
      setTimeout(look, 1000 * seconds);
    } catch (error) {
      say("This page no longer follows the run: its server has ended.");
    }
  }

  setTimeout(look, 1000 * seconds);
}
