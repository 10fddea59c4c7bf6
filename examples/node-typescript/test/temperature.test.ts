import assert from "node:assert/strict";
import { test } from "node:test";
import { convert, Query } from "../src/temperature.js";

test("water freezes and boils", () => {
  assert.deepEqual(convert({ celsius: 0 }), { celsius: 0, fahrenheit: 32, kelvin: 273.15 });
  assert.equal(convert({ celsius: 100 }).fahrenheit, 212);
});

test("text from a query becomes a number", () => {
  assert.deepEqual(Query.parse({ celsius: "-40" }), { celsius: -40 });
});

test("nothing is colder than absolute zero", () => {
  assert.throws(() => Query.parse({ celsius: "-300" }), /absolute zero/);
});
