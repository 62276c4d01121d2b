"use strict";
// A click on a column's head sorts by it, a second one the other way round; what has no value stays at the end.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, i) => row.cells[i].dataset.value ?? row.cells[i].textContent.trim();
  const missing = (text) => text === "" || text === "–" || text === "nan";
  heads.forEach((head, i) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [value(row, i), row]);
    const numbers = rows.every(([text]) => missing(text) || !Number.isNaN(Number(text)));
    const order = (a, b) => numbers ? Number(a) - Number(b) : a.localeCompare(b, "en", {numeric: true});
    rows.sort(([a], [b]) => missing(a) - missing(b) || (missing(a) ? 0 : (down ? -1 : 1) * order(a, b)));
    body.append(...rows.map(([, row]) => row));
  }));
}
// Everything that carries words to search (rows, curves, pictures) stays only while it has all those typed: anywhere in its text, or,
// where what is typed is a whole word of some item (seed=1), as that word (and not as a part of seed=10).
for (const input of document.querySelectorAll("input[type=search]")) {
  const items = [...document.querySelectorAll("[data-filter]")], tables = [...document.querySelectorAll("table:has(tr[data-filter])")];
  const runs = tables.filter((table) => table.tHead.textContent.startsWith("run")).flatMap((table) => [...table.tBodies[0].rows]);
  const wordsOf = (item) => item.dataset.filter.toLowerCase().split(/\s+/), whole = new Set(items.flatMap(wordsOf));
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) {
      const text = item.dataset.filter.toLowerCase();
      const own = wordsOf(item);
      item.toggleAttribute("hidden", !words.every((word) => whole.has(word) ? own.includes(word) : text.includes(word)));
    }
    const shown = runs.filter((row) => !row.hidden).length;
    input.parentElement.querySelector("output").value = words.length ? `${shown} of ${runs.length} runs` : "";
  };
  input.addEventListener("input", apply);
}
// The values of a chart's curves under the pointer, and a line where they were read.
for (const svg of document.querySelectorAll("svg[data-values]")) {
  const {x: label, lines} = JSON.parse(svg.dataset.values), readout = svg.parentElement.querySelector(".readout");
  const cursor = svg.querySelector("path").cloneNode();
  cursor.setAttribute("class", "cursor");
  const places = lines.flatMap((line) => line.at.map((at, i) => [at, line.x[i]]));
  const show = (event) => {
    if (!places.length) return;
    const view = svg.viewBox.baseVal, box = svg.getBoundingClientRect(), wanted = (event.clientX - box.left) / box.width * view.width;
    const [at, x] = places.reduce((best, place) => Math.abs(place[0] - wanted) < Math.abs(best[0] - wanted) ? place : best);
    const found = lines.map((line) => [line.label, line.y[line.x.indexOf(x)]]).filter(([, y]) => y !== undefined);
    readout.value = `${label} ${x}: ` + found.map(([name, y]) => (lines.length > 1 ? `${name} ` : "") + y).join(", ");
    cursor.setAttribute("d", `M${at} 20V${view.height - 44}`);
    svg.append(cursor);
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", () => { readout.value = ""; cursor.remove(); });
}
// A picture, large, on a click or Enter; the factor stays whole.
const dialog = document.createElement("dialog");
document.body.append(dialog);
dialog.addEventListener("click", () => dialog.close());
for (const image of document.querySelectorAll(".pictures img")) {
  const enlarge = () => {
    const large = image.cloneNode(), fits = Math.min(innerWidth * 0.85 / image.naturalWidth, innerHeight * 0.75 / image.naturalHeight, 20);
    large.width = image.naturalWidth * Math.max(1, Math.floor(fits));
    large.height = image.naturalHeight * Math.max(1, Math.floor(fits));
    large.removeAttribute("tabindex");
    dialog.replaceChildren(large, image.alt);
    dialog.showModal();
  };
  image.tabIndex = 0;
  image.addEventListener("click", enlarge);
  image.addEventListener("keydown", (event) => { if (event.key === "Enter") enlarge(); });
}
