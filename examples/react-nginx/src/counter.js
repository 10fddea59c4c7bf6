/** The rules of the counter: it never goes below zero. */
export function counter(count, action) {
  switch (action) {
    case "up":
      return count + 1;
    case "down":
      return Math.max(0, count - 1);
    default:
      throw new Error(`unknown action ${action}`);
  }
}
