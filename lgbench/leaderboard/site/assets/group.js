"use strict";
// The curves of a group: any systems in one arm, those of arm `open` beside them, seeds on or off, and two systems with
// the test between them.
document.addEventListener("DOMContentLoaded", () => {
  const { group, systems, opened } = JSON.parse(document.getElementById("curves").textContent);
  const chart = document.getElementById("chart");
  const form = document.getElementById("choice");
  const boxes = [...form.querySelectorAll("input[name='system']")];
  const dashes = ["solid", "dash", "dashdot"]; // dotted are those of arm `open`
  const named = new Map(systems.map((system) => [system.name, { ...system, key: system.name }]));
  for (const { name, arms } of opened) named.set(`open:${name}`, { name: `${name} (open)`, arms, key: `open:${name}` });
  const percent = (share) => (share === 0 || share === 1 ? String(100 * share) : (100 * share).toFixed(1));
  const points = (share) => `${share >= 0.0005 ? "+" : ""}${(100 * share).toFixed(1)}`.replace(/^-0\.0$/, "0.0");
  const control = (name) => form.elements[name];
  const picked = (name) => control(name)?.value ?? ""; // a group without trained systems has fewer controls
  const shownArm = (system) => system.arms.open ?? system.arms[picked("arm")];
  const style = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
  const means = (seeds) => seeds[0].map((_, at) => seeds.reduce((sum, seed) => sum + seed[at], 0) / seeds.length);

  function chosen() {
    const names = boxes.filter((box) => box.checked).map((box) => box.value);
    for (const name of [picked("first"), picked("second")])
      if (name && !names.includes(name)) names.push(name);
    return names.map((name) => named.get(name)).filter(shownArm);
  }

  function traces(shown) {
    const compared = [picked("first"), picked("second")];
    const colors = style("--curves").split(/\s+/);
    const both = compared.every(Boolean) && compared[0] !== compared[1];
    return shown.flatMap((system, index) => {
      const arm = shownArm(system);
      const seeds = arm.curves;
      const color = colors[index % colors.length];
      const dash = system.arms.open ? "dot" : dashes[Math.floor(index / colors.length) % dashes.length];
      const opacity = both && !compared.includes(system.key) ? 0.25 : 1;
      const thin = control("seeds").checked && seeds.length > 1 ? seeds : [];
      const line = (values, width, label) => ({
        x: group.grid, y: values.map((share) => 100 * share), name: system.name, mode: width > 1 ? "lines+markers" : "lines",
        line: { color, width, dash }, marker: { size: 6 }, opacity: width > 1 ? opacity : opacity * 0.6,
        legendgroup: system.key, showlegend: width > 1, hovertemplate: `${label}: %{y:.1f} % at %{x}<extra></extra>`,
      });
      return [...thin.map((seed, at) => line(seed, 1, `${system.name}, seed ${arm.seeds[at]}`)), line(means(seeds), 3, system.name)];
    });
  }

  function layout() {
    const band = ({ zone, left, right }) => ({ type: "rect", xref: "x", yref: "paper", x0: left, x1: right, y0: 0, y1: 1, layer: "below", line: { width: 0 }, fillcolor: style(`--zone-${zone}`) });
    const label = ({ zone, left, right }) => ({ x: (left + right) / 2, y: 1, yref: "paper", yanchor: "bottom", showarrow: false, text: zone.replace("_", "-"), font: { size: 12, color: style("--soft") } });
    const border = (length) => ({ type: "line", xref: "x", yref: "paper", x0: length, x1: length, y0: 0, y1: 1, line: { color: style("--soft"), width: 1, dash: "dash" } });
    const axis = { gridcolor: style("--line"), zeroline: false, linecolor: style("--line"), fixedrange: true };
    return {
      shapes: [...group.zones.map(band), border(group.main_length), border(group.aux_length)],
      annotations: group.zones.map(label),
      xaxis: { ...axis, title: { text: "length" }, tickvals: group.grid, range: [group.zones[0].left, group.zones.at(-1).right] },
      yaxis: { ...axis, title: { text: "exact match, %" }, range: [-3, 103] },
      font: { color: style("--ink"), family: "system-ui, Segoe UI, Helvetica, Arial, sans-serif" },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 55, r: 10, t: 30, b: 45 }, legend: { orientation: "h", y: chart.clientWidth < 600 ? -0.3 : -0.2 }, showlegend: true,
    };
  }

  function fill(body, rows) {
    body.replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      row.append(...cells.map((text, at) => {
        const cell = document.createElement(at ? "td" : "th");
        if (!at) cell.scope = "row";
        cell.textContent = text;
        return cell;
      }));
      return row;
    }));
  }

  function compare() {
    if (!control("first")) return;
    const names = [picked("first"), picked("second")];
    const answer = document.getElementById("answer");
    if (!names.every(Boolean)) answer.textContent = "Choose two systems to compare them.";
    else if (names[0] === names[1]) answer.textContent = "Choose two different systems.";
    else {
      const arm = picked("arm");
      const sides = names.map((name) => named.get(name).arms[arm]);
      if (!sides.every(Boolean)) answer.textContent = `${sides[0] ? names[1] : names[0]} has no run of arm ${arm} in ${group.name}.`;
      else answer.textContent = sentence(names, statistics.difference(...sides));
    }
  }

  function sentence([one, other], { value, interval, p, test }) {
    const far = `${one} is ${points(Math.abs(value)).replace("+", "")} points ${value < 0 ? "below" : "above"} ${other} in the transfer zone`;
    const ends = interval ? `95 % interval of the difference ${points(interval[0])} to ${points(interval[1])}` : "no interval: in each arm all seeds are equal";
    const tests = { welch: "Welch's t test over seeds", permutation: "exact permutation test over seeds" };
    if (p === null) return `${far} (${ends}). One of them has one seed, so the interval is over examples alone, and no test can tell them apart.`;
    const number = p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`;
    return `${far} (${ends}; ${number}, ${tests[test]}). ${p <= 0.05 ? "The test tells them apart, if this pair alone was to be tested." : "The test does not tell them apart."}`;
  }

  function draw() {
    const shown = chosen();
    const arm = picked("arm");
    Plotly.react(chart, traces(shown), layout(), { displayModeBar: false, responsive: true });
    chart.setAttribute("aria-label", `${group.main} by length under ${arm || "open"}: ${shown.map((system) => system.name).join(", ") || "no system"}. The numbers are in the table below.`);
    fill(document.getElementById("numbers"), shown.map((system) => [system.name, ...means(shownArm(system).curves).map(percent)]));
    document.getElementById("missing").textContent = shown.length ? "" : (arm ? `No chosen system has runs of arm ${arm}.` : "No system is chosen.");
    compare();
    save();
  }

  function save() {
    const arm = picked("arm");
    const usual = boxes.every((box) => box.checked === box.defaultChecked);
    address.write({
      systems: usual ? "" : boxes.filter((box) => box.checked).map((box) => box.value).join(",") || "none",
      arm: arm === "transfer" ? "" : arm, seeds: control("seeds").checked ? "1" : "",
      first: picked("first"), second: picked("second"), sort: sorting.order,
    });
  }

  const given = address.read();
  if (given.has("systems")) for (const box of boxes) box.checked = given.get("systems").split(",").includes(box.value);
  for (const name of ["arm", "first", "second"])
    if (control(name) && [...control(name).options].some((option) => option.value === given.get(name))) control(name).value = given.get(name);
  control("seeds").checked = given.get("seeds") === "1";
  document.getElementById("find").addEventListener("input", (event) => {
    for (const box of boxes) box.parentElement.hidden = !box.value.includes(event.target.value.trim().toLowerCase());
    event.stopPropagation();
  });
  form.addEventListener("input", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("themechange", draw);
  sorting.begin(given.get("sort"), save);
  form.hidden = false;
  draw();
});
