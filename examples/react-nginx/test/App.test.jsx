import assert from "node:assert/strict";
import { test } from "node:test";
import { renderToStaticMarkup } from "react-dom/server";
import { App } from "../src/App.jsx";
import { counter } from "../src/counter.js";

test("the page shows where the counter stands", () => {
  assert.match(renderToStaticMarkup(<App start={3} />), /<output>3<\/output>/);
});

test("at zero there is no way down", () => {
  assert.match(renderToStaticMarkup(<App />), /<button disabled="">/);
  assert.equal(counter(0, "down"), 0);
  assert.equal(counter(0, "up"), 1);
});
