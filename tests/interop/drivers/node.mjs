// Drives a client in Node: node node.mjs <driver>; a command per line comes in, an answer per line goes out.
import { createInterface } from "node:readline";
import { run } from "./run.mjs";

console.log = console.info = console.warn = console.error; // stdout is for answers
process.on("unhandledRejection", (error) => console.error("unhandled:", error));

const driver = await import(`./${process.argv[2]}.mjs`);

for await (const line of createInterface({ input: process.stdin })) {
  const { name, args, limit } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await run(driver, name, args, limit))}\n`);
}
process.exit(0);
