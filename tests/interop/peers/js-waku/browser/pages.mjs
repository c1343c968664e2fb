// Pages in a Chromium without a window: commands on stdin, one JSON object a line on stdout. See README.md.
//   node browser/pages.mjs --profile FOLDER [--browser /usr/bin/chromium]
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const { values: flag } = parseArgs({ options: { profile: { type: "string" }, browser: { type: "string", default: "/usr/bin/chromium" } } });
const MESHED_MS = 60_000; // a connection and a few heartbeats of a second, on a busy machine
const SENT_MS = 20_000;
const ANSWERED_MS = 60_000; // all pages of a history, on a busy machine

const out = (event, fields = {}) => process.stdout.write(JSON.stringify({ event, t: Date.now(), ...fields }) + "\n");
const here = (name) => fileURLToPath(new URL(name, import.meta.url));

async function bundle(script) {
  const { outputFiles } = await build({
    entryPoints: [here(script)], write: false, bundle: true, format: "esm", platform: "browser", target: "es2022", logLevel: "warning",
    define: { "process.env.NODE_ENV": '"production"', global: "globalThis" },
  });
  return outputFiles[0].contents;
}

/** The pages and their scripts on loopback; the address. */
async function serve() {
  const html = async (name) => ["text/html; charset=utf-8", await readFile(here(name))];
  const script = async (name) => ["text/javascript", await bundle(name)];
  const files = {
    "/": await html("index.html"), "/app.js": await script("app.mjs"),
    "/services": await html("services.html"), "/services.js": await script("services.mjs"),
  };
  const server = createServer((request, response) => {
    const [type, body] = files[new URL(request.url, "http://x").pathname] ?? [];
    if (!body) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": type }).end(body);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return `http://127.0.0.1:${server.address().port}/`;
}

// Without the switches about background traffic it looks for hosts of its maker's at every start.
const browser = await chromium.launchPersistentContext(flag.profile, { executablePath: flag.browser, headless: true, args: [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
const site = await serve();
const pages = new Map();

function named(name) {
  const page = pages.get(name);
  if (!page) throw new Error(`no page ${name}`);
  return page;
}

/** What a reader of the page sees. */
const read = (page) => page.evaluate(() => {
  const state = document.getElementById("state");
  const lines = (list) => [...document.querySelectorAll(`#${list} li`)].map((line) => line.textContent);
  return { state: state.dataset.state, text: state.textContent, messages: lines("messages"), history: lines("history") };
});

/** Opens a page of this path, until its node is where it is of use or the page says that it failed. */
async function open(path, [name, muxer, node, cluster, shards, topic]) {
  const page = await browser.newPage();
  pages.set(name, page);
  page.on("pageerror", (error) => out("page-error", { page: name, error: error.message }));
  await page.goto(`${site}${path}?${new URLSearchParams({ node, muxer, cluster, shards, topic })}`);
  const settled = ["meshed", "ready", "failed"].map((state) => `#state[data-state=${state}]`);
  await page.waitForSelector(settled.join(), { timeout: MESHED_MS });
  return read(page);
}

const commands = {
  open: (words) => open("", words),
  services: (words) => open("services", words),
  // Fills in a form of the services' page, submits it, and waits for what comes of it.
  async submit([name, form, choice, text]) {
    const page = named(name);
    if (choice) await page.selectOption(`#${form} select`, choice);
    if (text) await page.fill(`#${form} input`, text);
    // The answer before this one is cleared by it.
    await page.evaluate((form) => document.getElementById(form).requestSubmit(), form);
    const answered = () => document.getElementById("answer").textContent;
    await page.waitForFunction(answered, null, { timeout: ANSWERED_MS, polling: 20 });
    return page.evaluate(() => ({ answer: document.getElementById("answer").textContent }));
  },
  async say([name, text]) {
    const page = named(name);
    await page.fill("#text", text);
    await page.press("#text", "Enter");
    const sent = () => document.getElementById("text").value === "" || document.getElementById("state").dataset.state === "failed";
    // Not by frames of animation, the default: a page behind another gets hardly any.
    await page.waitForFunction(sent, null, { timeout: SENT_MS, polling: 20 });
    return { state: (await read(page)).state };
  },
  read: ([name]) => read(named(name)),
  async quit() {
    await browser.close();
    return {};
  },
};

async function run(line) {
  const [cmd, ...words] = line.split(" ");
  try {
    if (!Object.hasOwn(commands, cmd)) throw new Error("unknown command; known: " + Object.keys(commands).join(" "));
    out("reply", { cmd, ...(await commands[cmd](words)) });
  } catch (error) { out("error", { cmd, error: error.message }); }
  if (cmd === "quit") process.exit(0);
}

out("ready", { browser: browser.browser()?.version() ?? null });
let queue = Promise.resolve(); // one command after the other
createInterface({ input: process.stdin })
  .on("line", (line) => { queue = queue.then(() => run(line)); })
  .on("close", () => { queue.then(() => run("quit")); });
