"use strict";
// What came from Azure reaches the page through text() and nothing else: no markup is ever built from it.
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const STEP = 100, SHORT = 160, LONG = 600, LISTED = 20;
  const VERDICTS = ["lost", "unknown", "at_risk", "held"];
  const WORDS = { lost: "Lost", unknown: "Unknown", at_risk: "At risk", held: "Held" };
  const MEANING = { lost: "Azure Backup cannot use the key", unknown: "keydrift cannot tell", at_risk: "usable, but not for sure", held: "proven usable" };
  const SCENARIOS = {
    "ade-bek": "Disk encryption secret (ADE)", "ade-kek": "Key encryption key (ADE)", "cvm-cmk": "Confidential VM",
    "cvm-des": "Disk encryption set", "backup-vault-cmk": "Backup vault", "rsv-cmk": "Recovery Services vault",
  };
  const EFFECTS = {
    "grants": "grants all", "grants-some": "grants some", "grants-nothing": "grants nothing", "denies": "denies",
    "does-not-deny": "does not deny", "undecidable": "cannot be decided",
  };
  const ICONS = {
    lost: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm3 9.4L10.4 11 8 8.6 5.6 11 5 10.4 7.4 8 5 5.6 5.6 5 8 7.4 10.4 5l.6.6L8.6 8l2.4 2.4Z",
    unknown: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Z",
    at_risk: "M8 1.2 15.6 14.6H.4L8 1.2Zm-.8 4.6v4.4h1.6V5.8H7.2Zm0 5.4v1.6h1.6v-1.6H7.2Z",
    held: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm-1 10.3L3.8 8.1l1.1-1.1L7 9.1l4.1-4.1 1.1 1.1L7 11.3Z",
  };
  // A name from outside may be `__proto__`: only what stands in a table itself is looked up
  const pick = (table, name) => (Object.hasOwn(table, name) ? table[name] : undefined);
  const $ = (id) => document.getElementById(id);
  const number = new Intl.NumberFormat("en");
  const plural = (n, one, many) => `${number.format(n)} ${n === 1 ? one : many || `${one}s`}`;

  // --- elements ------------------------------------------------------------------------------------------------------

  function el(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === true) made.setAttribute(key, "");
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
    return made;
  }

  function icon(verdict) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS(svg.namespaceURI, "path");
    svg.setAttribute("viewBox", "0 0 16 16");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", pick(ICONS, verdict) || ICONS.unknown);
    path.setAttribute("fill-rule", "evenodd");
    svg.append(path);
    if (verdict === "unknown") {
      const mark = document.createElementNS(svg.namespaceURI, "text");
      mark.setAttribute("x", "8");
      mark.setAttribute("y", "11.6");
      mark.textContent = "?";
      svg.append(mark);
    }
    return svg;
  }

  const badge = (verdict) => el("span", { class: `badge ${verdict}` }, icon(verdict), pick(WORDS, verdict) || text(verdict));

  // Characters that cannot be seen, or that turn the direction of what follows, are shown by their number
  const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/u;
  const UNSEEN_ALL = new RegExp(UNSEEN.source, "gu");

  function fill(node, value) {
    let from = 0;
    for (const found of UNSEEN.test(value) ? value.matchAll(UNSEEN_ALL) : []) {
      const point = found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      node.append(value.slice(from, found.index), el("span", { class: "point" }, `U+${point}`));
      from = found.index + found[0].length;
    }
    node.append(value.slice(from));
    return node;
  }

  // Isolated, so that a name's direction stays its own. `whole` shows more, and offers what is cut off even so.
  function text(value, whole) {
    const full = String(value), limit = whole ? LONG : SHORT;
    const node = el("bdi", { dir: "auto" });
    if (full.length <= limit) return fill(node, full);
    fill(node, `${full.slice(0, limit)}…`);
    if (!whole) return node;
    const reveal = el("button", { type: "button", class: "reveal" }, `show all ${number.format(full.length)} characters`);
    reveal.addEventListener("click", () => {
      node.replaceChildren();
      fill(node, full);
      node.tabIndex = -1;
      node.focus();
      reveal.remove();
    });
    return el("span", {}, node, " ", reveal);
  }

  // --- times ---------------------------------------------------------------------------------------------------------

  const MADE = Date.parse(DATA.generated_at);

  function span(ms) {
    const minutes = Math.round(ms / 60000);
    if (minutes < 1) return "< 1 min";
    if (minutes < 120) return `${minutes} min`;
    const hours = Math.round(minutes / 60);
    return hours < 48 ? `${hours} h` : `${number.format(Math.round(hours / 24))} days`;
  }

  const utc = (iso) => `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;
  const when = (iso) => el("time", { datetime: iso, title: iso }, utc(iso));
  const age = (iso) => span(Math.max(0, MADE - Date.parse(iso)));

  // --- key bindings --------------------------------------------------------------------------------------------------

  const C = DATA.columns;
  const of = (name, i) => (C[name] ? C[name][i] : null);
  const KEY = /^https:\/\/([^/.]*)[^/]*\/(keys|secrets)\/(.*)$/su;

  function keyOf(i) {
    const parts = KEY.exec(of("key", i) || "");
    return parts ? { store: parts[1], kind: parts[2] === "keys" ? "key" : "secret", name: parts[3] } : { store: "", kind: "key", name: of("key", i) || "" };
  }

  function subscriptionOf(i) {
    const found = /^\/subscriptions\/([^/]+)/iu.exec(of("key_store_id", i) || (of("consumers", i) || [])[0] || "");
    return found ? found[1].toLowerCase() : "";
  }

  function proofOf(i) {
    const store = of("key_store_id", i), scopes = of("proof.scope", i), ids = of("proof.id", i);
    return (of("proof.shape", i) || []).map((shape, n) => ({
      ...DATA.proof_shapes[shape],
      scope: scopes[n] === 1 ? store : scopes[n],
      id: Array.isArray(ids[n]) ? store + ids[n][0] : ids[n],
    }));
  }

  const principalOf = (i) => of("principal.name", i) || of("principal.object_id", i) || "";
  const findingsOf = (i) => of("findings", i) || [];
  const titleOf = (code) => pick(DATA.titles, code) || code;
  const ALL = Array.from({ length: DATA.count }, (_, i) => i);
  const RANK = Object.fromEntries(VERDICTS.map((verdict, n) => [verdict, n]));
  const rankOf = (i) => pick(RANK, of("verdict", i)) * 2 + (of("exempted", i) ? 1 : 0);
  const by = (name) => (a, b) => {
    const one = of(name, a) || "", other = of(name, b) || "";
    return one < other ? -1 : one > other ? 1 : 0;
  };
  const byKey = by("key");
  const ORDERS = {
    "": (a, b) => rankOf(a) - rankOf(b) || byKey(a, b),
    proof: by("read_at"),
    key: byKey,
  };
  const sorted = {};
  function inOrder(name) {
    const order = Object.hasOwn(ORDERS, name) ? name : "";
    return (sorted[order] = sorted[order] || [...ALL].sort(ORDERS[order]));
  }

  const haystacks = [];
  function haystack(i) {
    return (haystacks[i] = haystacks[i] || [
      of("id", i), of("key", i), of("key_store_id", i), of("scenario", i), pick(SCENARIOS, of("scenario", i)) || "", principalOf(i),
      of("principal.object_id", i), of("principal.app_id", i), of("principal.identity", i) || "", of("permission_model", i),
      ...(of("consumers", i) || []), ...findingsOf(i).flatMap((f) => [f.code, titleOf(f.code)]),
    ].join("\n").toLowerCase());
  }

  // --- the view, which lives in the address --------------------------------------------------------------------------

  const NAMES = ["q", "verdict", "scenario", "subscription", "sort", "binding"];
  let view, shown = [], drawn = 0, typing = false;

  function read() {
    const given = new URLSearchParams(location.hash.slice(1));
    const found = Object.fromEntries(NAMES.map((name) => [name, given.get(name) || ""]));
    found.verdict = new Set(found.verdict.split(",").filter((word) => VERDICTS.includes(word)));
    return found;
  }

  function write(replace) {
    const params = new URLSearchParams();
    for (const name of NAMES) {
      const value = name === "verdict" ? VERDICTS.filter((word) => view.verdict.has(word)).join(",") : view[name];
      if (value) params.set(name, value);
    }
    const hash = params.toString().replaceAll("%2C", ",");
    history[replace ? "replaceState" : "pushState"](null, "", hash ? `#${hash}` : `${location.pathname}${location.search}`);
  }

  function change(what, replace) {
    view = { ...view, binding: "", ...what };
    write(replace);
    draw();
  }

  function matches(i) {
    if (view.binding) return of("id", i) === view.binding;
    return (
      (!view.verdict.size || view.verdict.has(of("verdict", i))) &&
      (!view.scenario || of("scenario", i) === view.scenario) &&
      (!view.subscription || subscriptionOf(i) === view.subscription) &&
      view.q.toLowerCase().split(/\s+/u).every((word) => haystack(i).includes(word))
    );
  }

  const filtered = () => Boolean(view.q || view.verdict.size || view.scenario || view.subscription || view.binding);

  function draw() {
    shown = filtered() ? inOrder(view.sort).filter(matches) : inOrder(view.sort);
    drawn = 0;
    for (const name of ["q", "scenario", "subscription", "sort"]) if ($(name).value !== view[name]) $(name).value = view[name];
    for (const tile of $("tiles").children) tile.setAttribute("aria-pressed", String(view.verdict.has(tile.dataset.verdict)));
    $("reset").disabled = !filtered() && !view.sort;
    $("count").textContent = filtered() ? `${number.format(shown.length)} of ${plural(DATA.count, "key binding")}` : plural(DATA.count, "key binding");
    $("bindings").replaceChildren();
    $("column-names").hidden = !shown.length;
    $("nothing").hidden = shown.length > 0;
    $("nothing").textContent = DATA.count
      ? view.binding ? "There is no such key binding now. Clear the filters to see the others." : "No key binding fits these filters. Clear them to see all."
      : "keydrift looks for confidential machines, ADE disks, Backup vaults and Recovery Services vaults that use your own keys. What its identity may read, `keydrift doctor` tells.";
    $("filters").hidden = $("count").hidden = !DATA.count;
    grow(STEP);
    if (view.binding && shown.length === 1) {
      const linked = $("bindings").querySelector("details");
      linked.open = true;
      linked.scrollIntoView();
      linked.firstChild.focus({ preventScroll: true });
    }
  }

  function grow(by) {
    const next = shown.slice(drawn, drawn + by);
    $("bindings").append(...next.map(row));
    drawn += next.length;
    const left = shown.length - drawn;
    $("more").hidden = !left;
    $("more").textContent = `Show ${number.format(Math.min(STEP, left))} more of ${number.format(left)}`;
  }

  // --- a row and what opens below it ---------------------------------------------------------------------------------

  const label = (words) => el("span", { class: "hidden label" }, words);

  function row(i) {
    const verdict = of("verdict", i), key = keyOf(i), findings = findingsOf(i), consumers = of("consumers", i) || [];
    const summary = el("summary", { class: "line" },
      el("span", { class: "verdict" }, badge(verdict), of("exempted", i) ? el("span", { class: "chip" }, "exempted") : null),
      el("span", { class: "key" }, el("strong", {}, text(key.name)), el("span", { class: "second" }, `${key.kind} in `, text(key.store))),
      el("span", { class: "use" }, pick(SCENARIOS, of("scenario", i)) || text(of("scenario", i)), el("span", { class: "second" }, text(principalOf(i) || "principal unknown"))),
      el("span", { class: findings.length ? "what" : "what fine" }, ...(findings.length ? found(findings) : ["Nothing found"])),
      el("span", { class: "number consumers" }, number.format(consumers.length), el("span", { class: "hidden label" }, consumers.length === 1 ? " consumer" : " consumers")),
      el("span", { class: "number age" }, label(verdict === "unknown" ? "tried " : "proven "), el("time", { datetime: of("read_at", i), title: of("read_at", i) }, age(of("read_at", i))), label(" before")),
      el("span", { class: "arrow", "aria-hidden": "true" }),
    );
    const details = el("details", { id: `b-${of("id", i)}` }, summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.childElementCount === 1) details.append(body(i));
    });
    return el("li", { class: verdict }, details);
  }

  const found = (findings) => [text(titleOf(findings[0].code)), findings.length > 1 ? `, and ${number.format(findings.length - 1)} more` : ""];

  function body(i) {
    return el("div", { class: "body" },
      el("div", { class: "main" }, findingsSection(i), part("Proof: the grants and denies weighed", proofList(i)), part(`History: ${DATA.source === "scan" ? "none" : "alerts, newest first"}`, historyList(i))),
      el("div", { class: "side" }, part("Key binding", facts(i)), consumersSection(i)),
    );
  }

  const part = (title, ...children) => el("section", {}, el("h3", {}, title), ...children);

  function findingsSection(i) {
    const findings = findingsOf(i), missing = of("missing", i) || [], exemption = of("exemption", i);
    return part("Findings",
      ...(findings.length ? findings.map(finding) : [el("p", { class: "note" }, "None: the principal may do with this key what it has to.")]),
      missing.length ? el("p", { class: "note" }, "Missing: ", ...missing.flatMap((each, n) => [n ? ", " : "", el("code", {}, text(each))])) : null,
      exemption ? el("p", { class: "note" }, exemption.lapsed ? "Exemption lapsed: " : "Exempted: ", text(exemption.reason, true), " (", text(exemption.author), `, until ${utc(exemption.expires)})`) : null,
    );
  }

  function finding(each) {
    const evidence = Object.entries(each.evidence || {}).filter(([, value]) => value !== null && value !== "");
    return el("div", { class: "finding" },
      el("p", { class: "title" }, badge(each.level), text(titleOf(each.code)), el("span", { class: "code" }, text(each.code))),
      el("p", {}, text(each.summary, true)),
      evidence.length ? el("dl", {}, ...evidence.flatMap(([name, value]) => [el("dt", {}, text(name)), el("dd", {}, text(Array.isArray(value) ? value.join(", ") : value, true))])) : null,
      each.remediation ? repair(each.remediation) : null,
    );
  }

  function repair(words) {
    if (!words.startsWith("az ")) return el("p", {}, "To repair: ", text(words, true));
    const command = el("pre", { class: "command", tabindex: "0", role: "group", "aria-label": "Repair command" });
    fill(command, words);
    const button = el("button", { type: "button", class: "copy", "aria-label": "Copy the repair command" }, "Copy");
    button.addEventListener("click", () => copy(words, command, button));
    return el("div", {}, el("p", { class: "note" }, "Repair"), el("div", { class: "repair" }, command, button),
      UNSEEN.test(words) ? el("p", { class: "note" }, "The command holds characters that cannot be seen: they are copied as they are, and shown by number here.") : null);
  }

  async function copy(words, command, button) {
    let done = true;
    try {
      await navigator.clipboard.writeText(words);
    } catch {
      done = copyByHand(words);
      button.focus();
    }
    if (!done) getSelection().selectAllChildren(command);
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    $("said").textContent = done ? "The repair command is copied." : "The repair command is selected: copy it with the keyboard.";
    setTimeout(() => { button.textContent = "Copy"; $("said").textContent = ""; }, 4000);
  }

  // Where the clipboard's own interface is refused, or the page was not fetched securely
  function copyByHand(words) {
    const area = el("textarea", { class: "hidden", readonly: true, "aria-hidden": "true" });
    area.value = words;
    document.body.append(area);
    area.select();
    let done = false;
    try { done = document.execCommand("copy"); } catch { done = false; }
    area.remove();
    return done;
  }

  function proofList(i) {
    const steps = proofOf(i);
    if (!steps.length) return el("p", { class: "note" }, "No grant or deny was weighed.");
    return listed(steps, (step) => el("li", {},
      el("strong", {}, pick(EFFECTS, step.effect) || text(step.effect)), ": ", text(step.kind.replaceAll("-", " ")), " ", step.role ? text(step.role, true) : null,
      el("span", { class: "where" }, text(step.reason, true)),
      (step.permissions || []).length ? el("span", { class: "where" }, "gives ", text(step.permissions.join(", "), true)) : null,
      step.scope ? el("span", { class: "where" }, "at ", text(step.scope, true)) : null,
      el("span", { class: "where" }, "id ", text(step.id, true)),
    ));
  }

  function historyList(i) {
    if (DATA.source === "scan") return el("p", { class: "note" }, "A scan remembers nothing: the monitor's page shows past alerts.");
    const past = [...(of("history", i) || [])].reverse();
    if (!past.length) return el("p", { class: "note" }, "No alert yet.");
    return el("ol", { class: "history" }, ...past.map((each) => el("li", { class: VERDICTS.includes(each.verdict) ? each.verdict : "unknown" },
      el("strong", {}, text(each.kind)), ": ", pick(WORDS, each.previous) || text(each.previous), " → ", badge(each.verdict),
      el("span", { class: "where" }, when(each.at), each.outage_seconds ? `, lost for ${span(each.outage_seconds * 1000)}` : "", each.reason ? ", " : "", each.reason ? text(each.reason) : ""),
      each.codes.length ? el("span", { class: "where" }, text(each.codes.map(titleOf).join("; "))) : null,
      el("span", { class: "where" }, each.actor ? "by " : "", each.actor ? text(each.actor, true) : "nobody is named", each.actor && each.actor_confidence === "likely" ? " (likely)" : "", ", found by ", text(each.via)),
    )));
  }

  function facts(i) {
    const since = of("since", i), list = el("dl", {});
    const add = (name, value) => value && list.append(el("dt", {}, name), el("dd", {}, value.nodeType ? value : text(value, true)));
    add("Verdict", el("span", {}, badge(of("verdict", i)), `: ${MEANING[of("verdict", i)]}`));
    if (since) add("Since", el("span", {}, when(since), ` (${age(since)})`));
    add(of("verdict", i) === "unknown" ? "Last try" : "Last proof", el("span", {}, when(of("read_at", i)), ` (${age(of("read_at", i))} before this page)`));
    add("Severity", of("severity", i));
    add("Key", of("key", i));
    add("Key store", of("key_store_id", i));
    add("Permissions by", of("permission_model", i));
    add("Scenario", of("scenario", i));
    add("Principal", of("principal.name", i));
    add("Object id", of("principal.object_id", i));
    add("App id", of("principal.app_id", i));
    const identity = of("principal.identity", i) === 1 ? of("consumers", i)[0] : of("principal.identity", i) || "";
    add("Identity of", identity.startsWith("/") ? identity : null);
    add("Id", el("a", { href: `#binding=${encodeURIComponent(of("id", i))}` }, text(of("id", i))));
    return list;
  }

  function consumersSection(i) {
    const consumers = of("consumers", i) || [];
    return part(`Consumers: ${number.format(consumers.length)}`, consumers.length
      ? listed(consumers, (id) => el("li", {}, text(id.slice(id.lastIndexOf("/") + 1), true), el("span", { class: "where" }, text(id, true))), 6)
      : el("p", { class: "note" }, "None is known."));
  }

  function listed(all, made, most = LISTED) {
    const list = el("ul", { class: "plain" }, ...all.slice(0, most).map(made));
    if (all.length <= most) return list;
    const rest = el("button", { type: "button", class: "reveal" }, `show all ${number.format(all.length)}`);
    rest.addEventListener("click", () => {
      const first = made(all[most]);
      first.tabIndex = -1;
      list.append(first, ...all.slice(most + 1).map(made));
      rest.remove();
      first.focus();
    });
    return el("div", {}, list, rest);
  }

  // --- the head of the page ------------------------------------------------------------------------------------------

  function overview() {
    const counts = Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0])), exempted = { ...counts };
    for (const i of ALL) {
      counts[of("verdict", i)] += 1;
      if (of("exempted", i)) exempted[of("verdict", i)] += 1;
    }
    const open = (verdict) => counts[verdict] - exempted[verdict];
    const unread = (DATA.unread || []).length;
    $("headline").textContent = headline(counts, open, unread);
    $("lead").textContent = lead(counts, open, unread);
    if (DATA.count) {
      $("bar").append(...VERDICTS.filter((verdict) => counts[verdict]).map((verdict) => {
        const piece = el("span", { class: verdict });
        piece.style.flex = `${counts[verdict]} 1 0`;
        piece.style.background = "var(--tone)";
        return piece;
      }));
    }
    $("bar").hidden = !DATA.count;
    $("tiles").append(...VERDICTS.map((verdict) => tile(verdict, counts[verdict], exempted[verdict])));
  }

  function headline(counts, open, unread) {
    if (!DATA.count) return unread ? "No key bindings are known" : "No key bindings";
    if (open("lost")) return `${plural(open("lost"), "key binding")} lost`;
    if (open("unknown")) return `${plural(open("unknown"), "key binding")} cannot be judged`;
    if (open("at_risk")) return `Nothing lost, ${number.format(open("at_risk"))} at risk`;
    if (counts.held < DATA.count) return "Nothing to act on";
    return DATA.count === 1 ? "The key binding is held" : `All ${number.format(DATA.count)} key bindings are held`;
  }

  function lead(counts, open, unread) {
    const blind = unread ? ` ${plural(unread, "source")} could not be read, so there may be more.` : "";
    if (!DATA.count) return (DATA.source === "scan" ? "Nothing that could be seen backs up with a customer's key." : "Nothing that could be seen backs up with a customer's key, or no sweep has ended yet.") + blind;
    const rest = VERDICTS.filter((verdict) => counts[verdict]).map((verdict) => `${number.format(counts[verdict])} ${WORDS[verdict].toLowerCase()}`).join(", ");
    const exempt = VERDICTS.some((verdict) => counts[verdict] !== open(verdict)) ? " Exempted ones are counted in the tiles, not in the headline." : "";
    const oldest = ALL.reduce((least, i) => ((of("read_at", i) || "~") < least ? of("read_at", i) : least), "~");
    return `Of ${plural(DATA.count, "key binding")}: ${rest}. The oldest proof is ${age(oldest)} old.${exempt}${blind}`;
  }

  function tile(verdict, count, exempt) {
    const made = el("button", { type: "button", class: `tile ${verdict}`, "aria-pressed": "false", "data-verdict": verdict },
      el("span", { class: "word" }, icon(verdict), WORDS[verdict]),
      el("span", { class: count ? "number" : "number zero" }, number.format(count)),
      el("small", {}, exempt ? `${number.format(exempt)} exempted` : MEANING[verdict]));
    made.addEventListener("click", () => {
      const next = new Set(view.verdict);
      if (!next.delete(verdict)) next.add(verdict);
      change({ verdict: next });
    });
    return made;
  }

  function unreadSources() {
    const all = DATA.unread || [];
    $("unread").hidden = !all.length;
    $("unread-title").textContent = `${plural(all.length, "source")} could not be read`;
    if (!all.length) return;
    $("unread-list").replaceWith(listed(all, (each) => el("li", {},
      text(each.source, true), el("span", { class: "where" }, `${each.status ? `HTTP ${each.status} ` : ""}`, text(each.code || ""), each.repair ? "; what would repair it: " : "", each.repair ? text(each.repair, true) : null))));
  }

  function choices() {
    const count = (valueOf) => {
      const counted = new Map();
      for (const i of ALL) counted.set(valueOf(i), (counted.get(valueOf(i)) || 0) + 1);
      return [...counted].filter(([value]) => value).sort(([a], [b]) => (a < b ? -1 : 1));
    };
    const option = (value, words) => el("option", { value }, words);
    $("scenario").append(option("", "all"), ...count((i) => of("scenario", i)).map(([value, n]) => option(value, `${pick(SCENARIOS, value) || value} (${number.format(n)})`)));
    $("subscription").append(option("", "all"), ...count(subscriptionOf).map(([value, n]) => option(value, `${value.slice(0, 60)} (${number.format(n)})`)));
  }

  function start() {
    const old = Date.now() - MADE;
    $("made").append(DATA.source === "scan" ? "Scanned " : "As the monitor knew it ", when(DATA.generated_at), ` · keydrift ${DATA.monitor_version || ""}`);
    $("stale").hidden = !(old > 3600000);
    $("stale").textContent = `This page was made ${span(old)} ago and shows what was true then. ${DATA.source === "scan" ? "Scan again for the present." : "Load it again for the present."}`;
    $("footer").append(el("p", {}, "A proof is a reading of Azure that shows whether the principal may do with the key what Azure Backup needs. Its age counts to the time this page was made."),
      el("p", {}, "The address holds the filters, so a view can be shared. Where it carries a function key, so does the copy."));
    overview();
    unreadSources();
    choices();
    $("q").addEventListener("input", () => { change({ q: $("q").value }, typing); typing = true; });
    $("q").addEventListener("blur", () => { typing = false; });
    for (const name of ["scenario", "subscription", "sort"]) $(name).addEventListener("change", () => { typing = false; change({ [name]: $(name).value }); });
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("reset").addEventListener("click", () => { change({ q: "", verdict: new Set(), scenario: "", subscription: "", sort: "" }); $("q").focus(); });
    $("more").addEventListener("click", () => {
      const first = drawn;
      grow(STEP);
      $("bindings").children[first].querySelector("summary").focus();
    });
    new IntersectionObserver((entries) => { if (entries.some((each) => each.isIntersecting) && !$("more").hidden) grow(STEP); }, { rootMargin: "400px" }).observe($("more"));
    addEventListener("beforeprint", () => grow(shown.length));
    for (const event of ["popstate", "hashchange"]) addEventListener(event, () => { if (location.hash !== "#bindings") { typing = false; view = read(); draw(); } });
    document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); ($("bindings").querySelector("summary") || $("bindings")).focus(); });
    view = read();
    draw();
  }

  start();
})();
