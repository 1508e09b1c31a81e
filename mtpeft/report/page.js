"use strict";
// sliders between truth and prediction
for (const input of document.querySelectorAll(".slider input")) {
  const move = () => input.parentNode.style.setProperty("--x", input.value + "%");
  input.addEventListener("input", move);
  move();
}
// charts: values below the pointer, and lines that can be clicked away
const shown = (value) => {
  const size = Math.abs(value);
  return size !== 0 && (size >= 1e5 || size < 1e-3) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
};
for (const chart of document.querySelectorAll(".chart[data-points]")) {
  const points = JSON.parse(chart.dataset.points);
  const frame = JSON.parse(chart.dataset.frame);
  const svg = chart.querySelector("svg");
  const cursor = chart.querySelector(".cursor");
  const readout = chart.querySelector(".readout");
  const hidden = new Set();
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const x = frame.low + ((at - frame.left) / (frame.right - frame.left)) * (frame.high - frame.low);
    let nearest = null;
    for (const name in points)
      for (const point of points[name])
        if (nearest === null || Math.abs(point[0] - x) < Math.abs(nearest - x)) nearest = point[0];
    if (nearest === null) return;
    const place = frame.left + ((nearest - frame.low) / (frame.high - frame.low)) * (frame.right - frame.left);
    cursor.setAttribute("x1", place);
    cursor.setAttribute("x2", place);
    cursor.style.visibility = "visible";
    const words = [];
    for (const name in points) {
      if (hidden.has(name)) continue;
      const found = points[name].filter((point) => point[0] <= nearest).pop();
      if (found) words.push(name + " " + shown(found[1]));
    }
    readout.textContent = frame.x + " " + nearest + ": " + words.join(", ");
  });
  svg.addEventListener("pointerleave", () => {
    cursor.style.visibility = "hidden";
    readout.textContent = "";
  });
  for (const button of chart.querySelectorAll(".legend button"))
    button.addEventListener("click", () => {
      const name = button.dataset.series;
      const off = !hidden.delete(name) && Boolean(hidden.add(name));
      button.setAttribute("aria-pressed", String(!off));
      for (const mark of svg.querySelectorAll("[data-series]"))
        if (mark.dataset.series === name) mark.classList.toggle("off", off);
    });
}
// a link to a run opens it
const open = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const run = target && target.closest("details");
  if (run) { run.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", open);
open();
