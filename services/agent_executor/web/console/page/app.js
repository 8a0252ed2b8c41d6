// Begins: signs in or shows who is, leads to views, and keeps the live connection.

import { onSignedOut } from "./data/api.js";
import { Directory } from "./data/directory.js";
import { History } from "./data/history.js";
import { Live } from "./data/live.js";
import { caller, forget, signOut } from "./data/session.js";
import { h, replace } from "./parts/dom.js";
import { listen } from "./parts/keyboard.js";
import { notify, problem } from "./parts/notice.js";
import { here } from "./router.js";
import { Shell } from "./shell.js";
import { agentsView } from "./views/agents.js";
import { approvalsView } from "./views/approvals.js";
import { costsView } from "./views/costs.js";
import { runView } from "./views/run.js";
import { runsView } from "./views/runs.js";
import { signInView } from "./views/sign_in.js";
import { toolsView } from "./views/tools.js";

const VIEWS = { runs: runsView, approvals: approvalsView, costs: costsView, agents: agentsView, tools: toolsView };
const TITLES = { runs: "Runs", approvals: "Approvals", costs: "Costs", agents: "Agents", tools: "Tools" };

const root = document.getElementById("app");
let leave = () => {};

async function begin() {
  let who;
  try {
    who = await caller();
  } catch (error) {
    replace(root, h("main.alone", {}, problem(error, begin)));
    return;
  }
  if (who) work(who);
  else askForKey("");
}

function askForKey(message) {
  leave();
  leave = () => {};
  document.title = "Sign in · Agent Executor";
  signInView(root, message, begin);
}

function work(who) {
  const live = new Live();
  const context = { who, live, history: new History(live), directory: new Directory() };
  const shell = new Shell(root, context, { signOut: out });
  let close = () => {};
  let shown = null;

  function show() {
    const { segments } = here();
    const path = segments.join("/");
    if (path === shown) return;
    shown = path;
    close();
    const [name = "runs", id] = segments;
    const view = name === "runs" && id ? runView : VIEWS[name] ?? runsView;
    const current = VIEWS[name] ? name : "runs";
    document.title = `${id ? "Run" : TITLES[current]} · Agent Executor`;
    const stopping = new AbortController();
    const undo = view(shell.opened(current), { ...context, id, signal: stopping.signal }) ?? (() => {});
    close = () => {
      stopping.abort();
      undo();
    };
  }

  async function checkSession() {
    if (!(await caller().catch(() => who))) out.over();
  }

  async function out() {
    try {
      await signOut();
      askForKey("");
    } catch (error) {
      // A session that is over needs no end.
      if (error.status === 401) out.over();
      else notify(error.message, { isError: true });
    }
  }
  out.over = () => {
    forget();
    askForKey("Your session has ended. Sign in again to go on where you were.");
  };

  onSignedOut(out.over);
  context.live.addEventListener("refused", checkSession);
  addEventListener("hashchange", show);
  leave = () => {
    onSignedOut(() => {});
    removeEventListener("hashchange", show);
    close();
    shell.close();
    context.live.stop();
  };
  context.directory.read().catch(() => {});
  context.live.start();
  show();
}

listen();
begin();
