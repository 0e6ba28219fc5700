// A browser for the tests: one command a line on standard input, one answer a line on standard output.
// Started as: node chromium.mjs FOLDER_OF_NODE_MODULES
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.argv[2]}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
let page = null;
let asked = [];
let told = [];

const commands = {
  async open({ url, width = 1280, height = 900, scheme = "light", script = "" }) {
    await page?.context().close();
    asked = [];
    told = [];
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
    page = await context.newPage();
    page.setDefaultTimeout(20000);
    page.on("request", (request) => asked.push(request.url()));
    page.on("console", (message) => message.type() === "error" && told.push(message.text()));
    page.on("pageerror", (error) => told.push(String(error)));
    if (script) await page.addInitScript(script);
    await page.goto(url);
  },
  reload: () => page.reload(),
  click: ({ selector, at }) => page.click(selector, at ? { position: at } : {}),
  fill: ({ selector, text }) => page.fill(selector, text),
  press: ({ key }) => page.keyboard.press(key),
  files: ({ selector, paths }) => page.setInputFiles(selector, paths),
  text: ({ selector }) => page.textContent(selector),
  evaluate: ({ code }) => page.evaluate(code),
  async wait({ code, timeout = 20000 }) {
    // Asked from here again and again: the page's own policy forbids it to evaluate strings.
    const end = Date.now() + timeout;
    while (!(await page.evaluate(code))) {
      if (Date.now() > end) throw new Error(`not within ${timeout} ms: ${code}`);
      await new Promise((later) => setTimeout(later, 50));
    }
  },
  async drag({ selector, from, to }) {
    const box = await page.locator(selector).boundingBox();
    const y = box.y + box.height / 2;
    await page.mouse.move(box.x + from * box.width, y);
    await page.mouse.down();
    await page.mouse.move(box.x + to * box.width, y, { steps: 4 });
    await page.mouse.up();
  },
  async download({ selector }) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
    return { path: await download.path(), name: download.suggestedFilename() };
  },
  async violations() {
    // Of the page's policy only this evaluation is free: it comes from the debugger.
    await page.evaluate(axe);
    const { violations, passes } = await page.evaluate("axe.run()");
    const lines = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target).join(" ")}`);
    return { violations: lines, passes: passes.length };
  },
  asked: () => asked,
  told: () => told,
  screenshot: async ({ path, whole = false }) => void (await page.screenshot({ path, fullPage: whole })),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...options } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ value: (await commands[command](options)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.message), told }));
  }
}
await browser.close();
