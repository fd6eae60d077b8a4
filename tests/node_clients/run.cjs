// Runs the cases of one of the files beside this one, and prints what each returned or failed with, as one JSON object.
"use strict";

const SECONDS = 90; // a case takes a few; Google's emulator, where transactions conflict, ten

async function outcome(run) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error("too slow"), { code: "TIMEOUT" })), SECONDS * 1000);
  });
  try {
    return { value: await Promise.race([run(), late]) };
  } catch (error) {
    return { error: error.code ?? error.name, text: String(error.message) };
  } finally {
    clearTimeout(timer);
  }
}

async function main() {
  const [file, library] = process.argv.slice(2);
  const { cases, close } = require(`./${file}.cjs`).open(library);
  const outcomes = {};
  for (const [name, run] of Object.entries(cases)) {
    outcomes[name] = await outcome(run);
  }
  process.stdout.write(JSON.stringify(outcomes), () => process.exit(0));
  await close();
}

main();
