// Of a long table the first row of each architecture, then the next ones, eight in all; the others one opens.
function fold(rows) {
  if (!rows[0]?.dataset.variant) return;
  const variants = rows.map((row) => row.dataset.variant);
  const first = rows.filter((row, index) => variants.indexOf(variants[index]) === index);
  const others = rows.filter((row) => !first.includes(row));
  const shown = [...first.slice(0, 8), ...others.slice(0, Math.max(8 - first.length, 0))];
  rows.forEach((row) => row.classList.toggle("more", !shown.includes(row)));
}

// What an address names is opened.
function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let part = target.closest("details:not([open])"); part; part = part.closest("details:not([open])")) part.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", reveal);
addEventListener("load", reveal);

// A click on the head of a column sorts its table: largest first, then smallest first; text from a to z first.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const body = table.tBodies[0];
      const key = (row) => row.cells[column].dataset.order;
      const numeric = [...body.rows].every((row) => key(row) === undefined || key(row) === "" || !isNaN(key(row)));
      const before = head.getAttribute("aria-sort");
      const direction = before ? (before === "ascending" ? "descending" : "ascending") : numeric ? "descending" : "ascending";
      const sign = direction === "ascending" ? 1 : -1;
      const sorted = [...body.rows].sort((first, second) => {
        const [a, b] = [key(first), key(second)];
        // What has no value stays at the end either way.
        if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
        return sign * (numeric ? a - b : a.localeCompare(b));
      });
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction);
      body.append(...sorted);
      fold(sorted);
    });
  });
}

// The table as it is sorted now, rows as lines and cells between tabs, as spreadsheets take it.
for (const button of document.querySelectorAll("button[data-copies]")) {
  button.addEventListener("click", async () => {
    const rows = [...document.getElementById(button.dataset.copies).rows];
    const text = rows.map((row) => [...row.cells].map((cell) => cell.innerText.replace(/\s+/g, " ").trim()).join("\t")).join("\n");
    const status = button.nextElementSibling;
    try {
      await navigator.clipboard.writeText(text);
      status.textContent = "Copied.";
    } catch {
      status.textContent = "The browser does not let pages copy; select the table instead.";
    }
  });
}
