"use strict";
// Filters and sorting of the front page. Rows are in the page; nothing is fetched. Sorting stays within a table, so that
// nothing unverified rises above what is verified.
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
    for (const section of document.querySelectorAll("[data-section]"))
      section.hidden = ![...section.querySelectorAll("tr[data-system]")].some((row) => !row.hidden);
    document.getElementById("count").textContent = `${shown.size} of ${all.size} systems`;
    save();
  }

  let order = "";
  function sort(table, column, direction) {
    const body = table.tBodies[0];
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const sorted = [...body.rows].sort((one, other) => {
      const [a, b] = [key(one), key(other)];
      if (a === "" || b === "") return (a === "") - (b === ""); // what is unknown comes last, either way
      const numbers = [Number(a), Number(b)];
      const difference = numbers.some(Number.isNaN) ? a.localeCompare(b, "en") : numbers[0] - numbers[1];
      return direction === "descending" ? -difference : difference;
    });
    body.append(...sorted);
    for (const [at, head] of [...table.tHead.rows[0].cells].entries()) {
      if (at === column) head.setAttribute("aria-sort", direction);
      else head.removeAttribute("aria-sort");
    }
  }

  function save() {
    address.write({ ...Object.fromEntries(fields.map((name) => [name, value(name)])), sort: order });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
      head.querySelector("button")?.addEventListener("click", () => {
        const numeric = head.classList.contains("number");
        const first = numeric ? "descending" : "ascending";
        const other = numeric ? "ascending" : "descending";
        const direction = head.getAttribute("aria-sort") === first ? other : first;
        sort(table, column, direction);
        order = `${table.id}.${column}.${direction}`;
        save();
      });
    }
  }

  const given = address.read();
  for (const name of fields) if (given.has(name)) form.elements[name].value = given.get(name);
  const [id, column, direction] = (given.get("sort") ?? "").split(".");
  const table = document.getElementById(id);
  if (table?.classList.contains("sortable") && table.tHead.rows[0].cells[column] && ["ascending", "descending"].includes(direction)) {
    order = given.get("sort");
    sort(table, Number(column), direction);
  }
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  filter();
});
