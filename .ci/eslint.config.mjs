// For the scripts of the page that `mvit-np explainer` writes: rules that find mistakes.
const browser = [
  "document", "window", "location", "navigator", "performance", "matchMedia", "getComputedStyle",
  "requestAnimationFrame", "setTimeout", "addEventListener", "atob", "URL",
  "Option", "Event", "OffscreenCanvas",
];
const error = (names) => Object.fromEntries(names.map((name) => [name, "error"]));

export default [
  {
    files: ["**/*.js"],
    languageOptions: {
      ecmaVersion: 2023,
      sourceType: "module",
      globals: Object.fromEntries(browser.map((name) => [name, "readonly"])),
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      ...error([
        "no-undef", "no-redeclare", "no-shadow-restricted-names", "no-const-assign", "no-dupe-keys",
        "no-dupe-args", "no-unreachable", "no-unsafe-finally", "no-self-assign", "no-var",
        "prefer-const", "eqeqeq", "no-eval", "no-implied-eval", "no-fallthrough", "use-isnan",
        "valid-typeof", "no-debugger", "no-console", "no-throw-literal", "no-loss-of-precision",
      ]),
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "max-lines": ["error", 260],
      "max-lines-per-function": ["error", 60],
      "max-depth": ["error", 5],
      complexity: ["error", 16],
    },
  },
];
