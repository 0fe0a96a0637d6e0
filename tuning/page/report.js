"use strict";
// Sorting, finding a trial's line, and keeping only trials within a part of an axis. Without this
// script the page shows everything, in the order of the table.
(() => {
  const rows = [...document.querySelectorAll("#trials tbody tr")];
  const svg = document.querySelector("#coordinates svg");
  const lineOf = (row) => svg && svg.querySelector(`[id="line-${CSS.escape(row.dataset.trial)}"]`);
  const areas = [];
  const kept = new Map();
  let pinned = null;

  const mark = (row) => {
    for (const each of rows) {
      const on = each === row || each === pinned;
      each.classList.toggle("marked", on);
      const line = lineOf(each);
      if (line) {
        line.classList.toggle("marked", on);
        if (on) line.parentNode.appendChild(line);
      }
    }
    for (const { area } of areas) area.parentNode.appendChild(area);
  };

  const pin = (row) => {
    pinned = pinned === row ? null : row;
    for (const each of rows) {
      each.querySelector("button").setAttribute("aria-pressed", String(each === pinned));
    }
    mark(null);
  };

  for (const row of rows) {
    const cell = row.cells[0];
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = cell.textContent;
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", `Mark trial ${cell.textContent}`);
    cell.replaceChildren(button);
    button.addEventListener("click", () => pin(row));
    row.addEventListener("pointerenter", () => mark(row));
    row.addEventListener("pointerleave", () => mark(null));
    row.addEventListener("focusin", () => mark(row));
    row.addEventListener("focusout", () => mark(null));
    const line = lineOf(row);
    if (line) {
      line.addEventListener("pointerenter", () => mark(row));
      line.addEventListener("pointerleave", () => mark(null));
      line.addEventListener("click", () => {
        pin(row);
        row.scrollIntoView({ block: "nearest" });
      });
    }
  }

  // Sorting: numbers by value, the rest as text; what is absent comes last either way.
  const body = document.querySelector("#trials tbody");
  document.querySelectorAll("#trials thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const each of head.parentNode.cells) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const absent = (text) => text === "" || text === "-";
      rows.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (absent(x) || absent(y)) return absent(x) - absent(y);
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });

  const status = document.getElementById("shown");
  const filter = () => {
    let count = 0;
    for (const row of rows) {
      const places = JSON.parse(row.dataset.places || "[]");
      const inside = [...kept].every(([axis, [low, high]]) => places[axis] != null && places[axis] >= low && places[axis] <= high);
      row.classList.toggle("left-out", !inside);
      lineOf(row)?.classList.toggle("left-out", !inside);
      count += inside;
    }
    status.textContent = kept.size ? `${count} of ${rows.length} trials shown.` : "";
  };

  const reset = () => {
    kept.clear();
    svg?.querySelectorAll(".brush").forEach((each) => each.remove());
    filter();
  };
  document.getElementById("reset").addEventListener("click", reset);
  document.getElementById("tools").hidden = false;

  // An axis's line says where 0 and 1 are; brushing is by pointer, sorting serves the keyboard.
  svg?.querySelectorAll('[id^="axis-line-"]').forEach((line) => {
    const axis = Number(line.id.slice("axis-line-".length));
    const box = line.getBBox();
    const make = (kind) => document.createElementNS("http://www.w3.org/2000/svg", kind);
    const area = make("rect");
    area.setAttribute("class", "brush-area");
    for (const [name, value] of [["x", box.x - 9], ["y", box.y - 22], ["width", 18], ["height", box.height + 44]]) {
      area.setAttribute(name, value);
    }
    line.parentNode.appendChild(area);
    areas.push({ area });
    let brush = null;
    let start = 0;
    const height = (event) => {
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(area.getScreenCTM().inverse());
      return Math.min(Math.max(point.y, box.y - 22), box.y + box.height + 22);
    };
    area.addEventListener("pointerdown", (event) => {
      area.setPointerCapture(event.pointerId);
      svg.querySelector(`.brush[data-axis="${axis}"]`)?.remove();
      kept.delete(axis);
      start = height(event);
      brush = make("rect");
      brush.setAttribute("class", "brush");
      brush.dataset.axis = axis;
      area.parentNode.insertBefore(brush, area);
      filter();
      event.preventDefault();
    });
    area.addEventListener("pointermove", (event) => {
      if (!brush) return;
      const end = height(event);
      const [top, bottom] = [Math.min(start, end), Math.max(start, end)];
      for (const [name, value] of [["x", box.x - 6], ["y", top], ["width", 12], ["height", bottom - top]]) {
        brush.setAttribute(name, value);
      }
      const place = (y) => 1 - (y - box.y) / box.height;
      kept.set(axis, [place(bottom), place(top)]);
      filter();
    });
    const end = () => {
      if (brush && !kept.has(axis)) brush.remove();
      brush = null;
    };
    area.addEventListener("pointerup", end);
    area.addEventListener("pointercancel", end);
  });
})();
