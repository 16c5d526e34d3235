"use strict";
// The training curves of a system: accuracy on dev examples by zone, or the loss, by step; a line for each run.
document.addEventListener("DOMContentLoaded", () => {
  const data = document.getElementById("training-data");
  if (!data) return;
  const { groups } = JSON.parse(data.textContent);
  const form = document.getElementById("training-choice");
  const chart = document.getElementById("training-chart");
  const colors = { main_only: "#8a8f98", transfer: "#2f81c7", control: "#d95f02", direct: "#1b9e77", short_aux: "#8b7fd1" };
  const style = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();

  function draw() {
    const [group, shown] = [form.elements.group.value, form.elements.shown.value];
    const runs = groups[group];
    const labelled = new Set();
    const traces = runs.map((run) => {
      const first = !labelled.has(run.arm);
      labelled.add(run.arm);
      return {
        x: run.steps, y: run[shown].map((value) => (value === null || shown === "loss" ? value : 100 * value)), name: run.arm, legendgroup: run.arm,
        showlegend: first, mode: "lines", line: { color: colors[run.arm] ?? "#b0589a", width: 2, dash: run.arm === "control" ? "dash" : "solid" },
        hovertemplate: `${run.arm}, seed ${run.seed}: %{y:.3g} at step %{x}<extra></extra>`,
      };
    });
    const axis = { gridcolor: style("--line"), zeroline: false, linecolor: style("--line"), fixedrange: true };
    Plotly.react(chart, traces, {
      xaxis: { ...axis, title: { text: "step" } },
      yaxis: { ...axis, title: { text: shown === "loss" ? "loss, nats a target token" : "exact match on dev examples, %" }, ...(shown === "loss" ? {} : { range: [-3, 103] }) },
      font: { color: style("--ink"), family: "system-ui, Segoe UI, Helvetica, Arial, sans-serif" },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 60, r: 10, t: 10, b: 45 }, legend: { orientation: "h", y: chart.clientWidth < 600 ? -0.3 : -0.2 }, showlegend: true,
    }, { displayModeBar: false, responsive: true });
    const ends = runs.map((run) => `${run.arm} seed ${run.seed}: ${run[shown].at(-1) === null ? "none" : Number(run[shown].at(-1)).toFixed(3)} at step ${run.steps.at(-1)}`);
    chart.setAttribute("aria-label", `Training curves of ${group}, ${form.elements.shown.selectedOptions[0].textContent}. Last points: ${ends.join("; ")}.`);
  }

  form.addEventListener("input", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("themechange", draw);
  form.hidden = false;
  draw();
});
