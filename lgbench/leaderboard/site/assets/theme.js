"use strict";
// Light, dark, or as the system has it; kept where the browser lets a page keep something.
(() => {
  const themes = ["system", "light", "dark"];
  const kept = () => { try { return localStorage.getItem("lgbench-theme"); } catch { return null; } };
  const keep = (theme) => { try { localStorage.setItem("lgbench-theme", theme); } catch { /* a file may not */ } };
  let theme = themes.includes(kept()) ? kept() : "system";
  const apply = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${theme}`;
    document.dispatchEvent(new Event("themechange"));
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    button.hidden = false;
    button.addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      keep(theme);
      apply();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
    apply();
  });
})();

// What a page shows is in its address, so that a link leads to it.
const address = {
  read: () => new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : ""),
  write: (values) => {
    const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    const text = new URLSearchParams(given).toString();
    if (text) history.replaceState(null, "", `#?${text}`);
    else if (location.hash.startsWith("#?")) history.replaceState(null, "", location.href.split("#")[0]);
  },
};
