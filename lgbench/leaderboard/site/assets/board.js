"use strict";
// Filters of the front page. Rows are in the page; nothing is fetched.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("filters");
  const rows = [...document.querySelectorAll("tr[data-system]")];
  const fields = ["division", "tier", "group", "from", "to", "name"];
  const value = (name) => form.elements[name].value.trim();

  function fits(row) {
    const data = row.dataset;
    if (value("name") && !data.system.includes(value("name").toLowerCase())) return false;
    if (value("division") && data.division !== value("division")) return false;
    if (value("tier") && data.tier !== value("tier")) return false;
    if (value("group") && !data.groups.split(" ").includes(value("group"))) return false;
    const [least, most] = [data.least, data.most].map((each) => (each === "" ? null : Number(each)));
    if (value("from") && (most === null || most < Number(value("from")))) return false;
    if (value("to") && (least === null || least > Number(value("to")))) return false;
    return true;
  }

  function filter() {
    const shown = new Set();
    const all = new Set();
    for (const row of rows) {
      row.hidden = !fits(row);
      all.add(row.dataset.system);
      if (!row.hidden) shown.add(row.dataset.system);
    }
    for (const section of document.querySelectorAll("[data-section], tbody"))
      section.hidden = ![...section.querySelectorAll("tr[data-system]")].some((row) => !row.hidden);
    document.getElementById("count").textContent = `${shown.size} of ${all.size} systems`;
    save();
  }

  function save() {
    address.write({ ...Object.fromEntries(fields.map((name) => [name, value(name)])), sort: sorting.order });
  }

  const given = address.read();
  for (const name of fields) if (given.has(name)) form.elements[name].value = given.get(name);
  sorting.begin(given.get("sort"), save);
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  filter();
});
