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
    });
  });
}
