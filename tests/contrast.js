// Text of a page that is hard to read: its contrast with what lies behind it (WCAG 2.2, success criterion 1.4.3), least first.
(least) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const colour = (text) => {
    if (!known.has(text)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = "#000";
      canvas.fillStyle = text;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(text, { r, g, b, a: a / 255 });
    }
    return known.get(text);
  };
  const over = (top, below) => ({ r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a), b: top.b * top.a + below.b * (1 - top.a), a: 1 });
  const linear = (value) => (value <= 10.31475 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ({ r, g, b }) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ratio = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const parent = (node) => node.parentElement ?? (node.getRootNode() instanceof ShadowRoot ? node.getRootNode().host : null);

  // What lies behind an element: colours of its ancestors, and the plot area that a chart's text stands on.
  const behind = (element, box) => {
    const layers = [];
    const add = (one, text, share = 1) => {
      const area = one.getBoundingClientRect();
      const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
      const inside = x >= area.left && x <= area.right && y >= area.top && y <= area.bottom; // text may stand beside its element's box
      const fill = { ...colour(text) };
      fill.a *= share;
      if (fill.a && (inside || one === document.body || one === document.documentElement)) layers.push(fill);
    };
    for (let one = element; one; one = parent(one)) {
      if (one instanceof SVGSVGElement) {
        for (const rect of one.querySelectorAll(".bglayer rect, rect.bg")) add(rect, getComputedStyle(rect).fill, Number(getComputedStyle(rect).fillOpacity));
      }
      add(one, getComputedStyle(one).backgroundColor);
      if (layers.at(-1)?.a === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), { r: 255, g: 255, b: 255, a: 1 });
  };
  const opacity = (element) => {
    let all = 1;
    for (let one = element; one; one = parent(one)) all *= Number(getComputedStyle(one).opacity);
    return all;
  };
  // Controls that cannot be used are exempt, and so are the letters that icon fonts draw pictures with.
  const exempt = (element) => {
    for (let one = element; one; one = parent(one)) {
      if (one.matches(":disabled, [aria-disabled=true], [data-testid=stIconMaterial], [inert]")) return true;
      if (one.matches("label") && one.parentElement.querySelector(":disabled")) return true;
    }
    return /Material/.test(getComputedStyle(element).fontFamily);
  };
  const name = (element) => [element.closest("[data-testid]")?.dataset.testid, element.className.baseVal ?? element.className].filter(Boolean).join(" ") || element.tagName;
  const found = [];
  let seen = 0;
  const look = (text, element, box, ink) => {
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || box.width < 2 || box.height < 2 || exempt(element)) return;
    seen += 1;
    const ground = behind(element, box);
    const front = over({ ...ink, a: ink.a * opacity(element) }, ground);
    const value = ratio(front, ground);
    const hex = ({ r, g, b }) => `#${[r, g, b].map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`;
    if (value < least - 0.005) found.push([value.toFixed(2), `${hex(front)} on ${hex(ground)}`, name(element), text.trim().slice(0, 40)]);
  };
  const walk = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) walk(element.shadowRoot);
      if (/^(STYLE|SCRIPT|NOSCRIPT|TEMPLATE|OPTION)$/i.test(element.tagName)) continue;
      const style = getComputedStyle(element);
      const drawn = element instanceof SVGElement ? { ...colour(style.fill), a: colour(style.fill).a * Number(style.fillOpacity) } : colour(style.color);
      for (const node of element.childNodes) {
        if (node.nodeType !== Node.TEXT_NODE || !node.data.trim()) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        look(node.data, element, range.getBoundingClientRect(), drawn);
      }
      if (element.matches("input:not([type=range], [type=checkbox], [type=file]), select, textarea")) {
        // What would be typed has a colour too.
        look(element.value || element.options?.[element.selectedIndex]?.text || "", element, element.getBoundingClientRect(), drawn);
        if (element.placeholder) look(element.placeholder, element, element.getBoundingClientRect(), colour(getComputedStyle(element, "::placeholder").color));
      }
      if (element.matches(".stDataFrameGlideDataEditor, [class*=gdg]")) { // drawn on a canvas, in colours that stand in variables
        for (const [ink, ground] of [["dark", "cell"], ["medium", "cell"], ["header", "header"], ["group-header", "header"]]) {
          const [front, back] = [style.getPropertyValue(`--gdg-text-${ink}`), style.getPropertyValue(`--gdg-bg-${ground}`)];
          if (!front || !back) continue;
          seen += 1;
          const page = over(colour(back), behind(element, element.getBoundingClientRect()));
          const value = ratio(over(colour(front), page), page);
          if (value < least - 0.005) found.push([value.toFixed(2), `${front} on ${back}`, "table", ink]);
        }
      }
    }
  };
  walk(document);
  return { seen, found: found.sort((one, other) => Number(one[0]) - Number(other[0])) };
}
