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
  const runs = [...tables.at(-1).querySelectorAll("tr[data-filter]")];
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
