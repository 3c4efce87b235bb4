// What would be a fault in any browser; how lines are laid out is nobody's business here.

const BROWSER = [
  "AbortController", "Blob", "CSS", "Event", "HTMLElement", "PopStateEvent", "SVGElement", "XMLSerializer", "Image", "ResizeObserver", "URL", "URLSearchParams", "cancelAnimationFrame",
  "clearInterval", "clearTimeout", "console", "createImageBitmap", "devicePixelRatio", "document", "fetch", "getComputedStyle", "history",
  "location", "matchMedia", "navigator", "performance", "requestAnimationFrame", "sessionStorage", "setInterval", "setTimeout",
  "structuredClone", "window",
];

export default [
  {
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: Object.fromEntries(BROWSER.map((name) => [name, "readonly"])) },
    rules: {
      "constructor-super": "error",
      "eqeqeq": ["error", "always", { null: "ignore" }],
      "getter-return": "error",
      "no-const-assign": "error",
      "no-dupe-class-members": "error",
      "no-dupe-keys": "error",
      "no-duplicate-imports": "error",
      "no-fallthrough": "error",
      "no-implied-eval": "error",
      "no-eval": "error",
      "no-new-func": "error",
      "no-redeclare": "error",
      "no-self-assign": "error",
      "no-shadow": "error",
      "no-this-before-super": "error",
      "no-undef": "error",
      "no-unreachable": "error",
      "no-unsafe-finally": "error",
      "no-unused-vars": ["error", { args: "after-used", argsIgnorePattern: "^_", caughtErrors: "none" }],
      "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
      "no-var": "error",
      "prefer-const": ["error", { destructuring: "all" }],
      "use-isnan": "error",
      "valid-typeof": "error",
    },
  },
];
