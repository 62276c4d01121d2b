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
// Everything that carries words to search (rows, curves, pictures) stays only while it has all those typed.
for (const input of document.querySelectorAll("input[type=search]")) {
  const items = [...document.querySelectorAll("[data-filter]")], rows = items.filter((item) => item.localName === "tr");
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) {
      const text = item.dataset.filter.toLowerCase();
      item.toggleAttribute("hidden", !words.every((word) => text.includes(word)));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    input.parentElement.querySelector("output").value = words.length ? `${shown} of ${rows.length} rows` : "";
  };
  input.addEventListener("input", apply);
}
