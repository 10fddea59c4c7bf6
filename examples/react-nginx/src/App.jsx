import { useReducer } from "react";
import { counter } from "./counter.js";

export function App({ start = 0 }) {
  const [count, dispatch] = useReducer(counter, start);
  return (
    <main>
      <h1>Counter</h1>
      <button onClick={() => dispatch("down")} disabled={count === 0}>−</button>
      <output>{count}</output>
      <button onClick={() => dispatch("up")}>+</button>
    </main>
  );
}
