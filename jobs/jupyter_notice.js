// A JupyterLab extension for hpcdl notebook: shows the notices of jupyter_lab.py, and saves what is open.
(() => {
  const LOOK_MS = 2000;
  const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
  const address = `${config.baseUrl || "/"}lab/extensions/hpcdl-notice/static/notice.json`;
  let last = 0;

  function showBelow(message) {
    const line = document.createElement("div");
    line.textContent = message;
    line.style = "position: fixed; bottom: 0; z-index: 9999; padding: 1ex; color: #000; background: #fc6";
    line.onclick = () => line.remove();
    document.body.append(line);
  }

  async function show(app, message, type) {
    if (!app.commands.hasCommand("apputils:notify")) return showBelow(message); // JupyterLab 3
    await app.commands.execute("apputils:notify", { message, type, options: { autoClose: false } });
  }

  async function look(app) {
    const answer = await fetch(address, { cache: "no-store" });
    if (!answer.ok) return;
    const notice = await answer.json();
    if (notice.id === last) return;
    last = notice.id;
    await show(app, notice.text, "warning");
    if (notice.save && app.commands.hasCommand("docmanager:save-all")) {
      try {
        await app.commands.execute("docmanager:save-all");
        await show(app, "hpcdl: what was open has been saved, before the end", "success");
      } catch (error) {
        await show(app, `hpcdl: not all that was open could be saved: ${error}`, "error");
      }
    }
  }

  const plugin = {
    id: "hpcdl-notice:plugin",
    autoStart: true,
    activate: (app) => {
      setInterval(() => look(app).catch(() => {}), LOOK_MS); // the server may be gone
    },
  };
  // What webpack's module federation would have built
  const container = {
    init: () => {},
    get: async () => () => ({ __esModule: true, default: plugin }),
  };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["hpcdl-notice"] = container;
})();
