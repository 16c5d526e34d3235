"use strict";
// Sorting of tables by a click on a heading: descending for figures, then ascending, then as the board has it. Each body
// of a table is sorted by itself, so that nothing unverified rises above what is verified.
const sorting = {
  // What is sorted, as the address has it: the table, the column and the direction; empty for nothing.
  order: "",

  // Make the tables sortable, and sort one as an address says.
  begin(given, changed) {
    for (const table of document.querySelectorAll("table.sortable")) {
      const bodies = new Map([...table.tBodies].map((body) => [body, [...body.rows].filter((row) => !row.classList.contains("block"))]));
      table.sortBy = (column, direction) => sorting.sort(table, bodies, column, direction);
      for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
        head.querySelector("button")?.addEventListener("click", () => {
          const cycle = head.classList.contains("number") ? ["descending", "ascending", ""] : ["ascending", "descending", ""];
          table.sortBy(column, cycle[(cycle.indexOf(head.getAttribute("aria-sort") ?? "") + 1) % 3]);
          changed();
        });
      }
    }
    const [id, column, direction] = (given ?? "").split(".");
    const table = document.getElementById(id);
    if (table?.sortBy && table.tHead.rows[0].cells[column] && ["ascending", "descending"].includes(direction))
      table.sortBy(Number(column), direction);
  },

  sort(table, bodies, column, direction) {
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    for (const [body, rows] of bodies) {
      const sorted = [...rows].sort((one, other) => {
        const [a, b] = [key(one), key(other)];
        if (a === "" || b === "") return (a === "") - (b === ""); // what is unknown comes last, either way
        const numbers = [Number(a), Number(b)];
        const difference = numbers.some(Number.isNaN) ? a.localeCompare(b, "en") : numbers[0] - numbers[1];
        return direction === "descending" ? -difference : difference;
      });
      body.append(...(direction ? sorted : rows));
    }
    for (const [at, head] of [...table.tHead.rows[0].cells].entries()) {
      if (at === column && direction) head.setAttribute("aria-sort", direction);
      else head.removeAttribute("aria-sort");
    }
    sorting.order = direction ? `${table.id}.${column}.${direction}` : "";
  },
};
