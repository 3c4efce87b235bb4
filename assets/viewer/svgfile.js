// @ts-check
// A chart of the page as a file of its own: what style sheets say of it stands in it.

const STYLES = [
  "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "paint-order", "font-family", "font-size", "font-weight", "visibility", "opacity",
];
const HIDDEN = ".hover-line";

// The SVG as text, `width` by `height` pixels, on the colour that lies behind it.
export function standalone(chart, width, height) {
  const copy = chart.cloneNode(true);
  const [originals, copies] = [chart, copy].map((one) => [one, ...one.querySelectorAll("*")]);
  originals.forEach((node, place) => {
    const styles = getComputedStyle(node);
    for (const name of STYLES) copies[place].setAttribute(name, styles.getPropertyValue(name));
    copies[place].removeAttribute("class");
    copies[place].removeAttribute("data-testid");
  });
  chart.querySelectorAll(HIDDEN).forEach((node) => copies[originals.indexOf(node)].remove());
  for (const [name, value] of [["xmlns", "http://www.w3.org/2000/svg"], ["width", width], ["height", height], ["viewBox", `0 0 ${width} ${height}`]]) {
    copy.setAttribute(name, String(value));
  }
  const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of [["width", width], ["height", height], ["fill", behind(chart)]]) paper.setAttribute(name, String(value));
  copy.prepend(paper);
  return new XMLSerializer().serializeToString(copy);
}

function behind(node) {
  for (let one = node; one; one = one.parentElement ?? one.getRootNode()?.host) {
    const { backgroundColor } = getComputedStyle(one);
    if (backgroundColor !== "rgba(0, 0, 0, 0)" && backgroundColor !== "transparent") return backgroundColor;
  }
  return "#fff";
}
