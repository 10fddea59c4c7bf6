/** Answers `GET /?celsius=20` with that temperature on other scales. */
import { createServer } from "node:http";
import { convert, Query } from "./temperature.js";

const port = Number(process.env.PORT ?? 3000);

const server = createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://localhost");
  const query = Query.safeParse({ celsius: url.searchParams.get("celsius") ?? undefined });
  const [status, body] = query.success
    ? [200, convert(query.data)]
    : [400, { error: query.error.issues.map((issue) => issue.message).join("; ") }];
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body) + "\n");
});

server.listen(port, () => console.log(`listening on port ${port}`));
process.on("SIGTERM", () => server.close());
