// @ts-check
// The page of a report: charts in the ink of the theme, and a wipe between two layers of each picture. Asks nobody for anything.
(() => {
  "use strict";
  const charts = JSON.parse(document.getElementById("charts")?.textContent ?? "{}");
  const plotly = /** @type {any} */ (window).Plotly;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  /** @param {boolean} printing */
  function ink(printing) {
    const style = getComputedStyle(document.documentElement);
    const of = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const [text, line] = printing ? ["#14202b", "#d5dde3"] : [of("--ink"), of("--line")];
    const change = /** @type {Record<string, string>} */ ({ "font.color": text, "hoverlabel.font.color": text, "hoverlabel.bgcolor": printing ? "#fff" : of("--soft") });
    for (const axis of ["xaxis", "yaxis", "xaxis2", "yaxis2"]) {
      change[`${axis}.gridcolor`] = line;
      change[`${axis}.zerolinecolor`] = text;
      change[`${axis}.linecolor`] = line;
    }
    return change;
  }

  /** @param {boolean} printing */
  function paint(printing) {
    for (const id of Object.keys(charts)) {
      const place = document.getElementById(id);
      const have = Object.entries(ink(printing)).filter(([key]) => !key.includes("axis2") || charts[id].layout.xaxis2);
      if (place) plotly.relayout(place, Object.fromEntries(have));
    }
  }

  const settings = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  for (const [id, chart] of Object.entries(charts)) {
    const place = document.getElementById(id);
    const font = { size: 15, family: "system-ui, DejaVu Sans, sans-serif" };
    const layout = { ...chart.layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font };
    if (!place) continue;
    place.style.height = `${layout.height}px`; // on paper too, where Plotly's own height is lost
    plotly.newPlot(place, chart.data, layout, settings);
  }
  paint(false);
  dark.addEventListener("change", () => paint(false));
  window.addEventListener("beforeprint", () => paint(true));
  window.addEventListener("afterprint", () => paint(false));

  /** @param {Element} card */
  function wipe(card) {
    const layers = /** @type {HTMLImageElement[]} */ ([...card.querySelectorAll(".layers img")]);
    const stage = document.createElement("div"), sides = document.createElement("div"), edge = document.createElement("div");
    const under = new Image(), over = new Image();
    let at = 50;
    stage.className = "wipe";
    sides.className = "sides";
    edge.className = "edge";
    over.className = "over";
    under.alt = over.alt = "";
    stage.tabIndex = 0;
    stage.setAttribute("role", "slider");
    stage.setAttribute("aria-label", `${card.querySelector("h3")?.textContent}: wipe between two layers`);
    stage.setAttribute("aria-valuemin", "0");
    stage.setAttribute("aria-valuemax", "100");

    function move(/** @type {number} */ to) {
      at = Math.min(100, Math.max(0, to));
      stage.style.setProperty("--at", `${at}%`);
      stage.setAttribute("aria-valuenow", String(Math.round(at)));
    }
    function follow(/** @type {PointerEvent} */ event) {
      const box = stage.getBoundingClientRect();
      move((100 * (event.clientX - box.left)) / box.width);
    }
    function choice(/** @type {HTMLImageElement} */ image, /** @type {string} */ label, /** @type {string} */ first) {
      const select = document.createElement("select");
      select.setAttribute("aria-label", label);
      for (const layer of layers) {
        const option = document.createElement("option");
        option.textContent = layer.alt;
        option.value = layer.dataset.layer ?? "";
        option.selected = option.value === first;
        select.add(option);
      }
      function show() {
        const layer = layers.find((one) => one.dataset.layer === select.value);
        image.src = layer?.src ?? "";
        image.classList.toggle("map", layer?.classList.contains("map") ?? false);
      }
      select.addEventListener("change", show);
      show();
      return select;
    }

    sides.append(choice(over, "left", "reference"), choice(under, "right", "merge"));
    const marks = card.querySelector("svg.marks");
    stage.append(under, over, ...(marks ? [marks] : []), edge);
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      follow(event);
    });
    stage.addEventListener("pointermove", (event) => {
      if (event.buttons) follow(event);
    });
    stage.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 10 : 2;
      const to = { ArrowLeft: at - step, ArrowDown: at - step, ArrowRight: at + step, ArrowUp: at + step, Home: 0, End: 100 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      move(to);
    });
    move(50);
    card.querySelector("figcaption")?.after(sides, stage);
  }
  document.querySelectorAll(".card").forEach(wipe);
})();
