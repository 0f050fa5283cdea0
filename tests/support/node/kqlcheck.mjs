// Microsoft's own language service over KQL texts: standard input holds
//   {tables: {Table: {Column: type}}, functions: {Name: {parameters, body}}, queries: {name: text}}
// and standard output gets {name: {errors: ["line:column code message"], columns: {Column: type}}}, saved functions' bodies included.
// The one argument is the folder `node_modules` to load it from.
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import vm from 'node:vm';

const modules = path.resolve(process.argv[2]);
const require = createRequire(path.join(modules, 'any.js'));
const folder = path.dirname(require.resolve('@kusto/language-service-next/package.json'));
// The package is made for browsers: two scripts that fill the global object, in this order
for (const script of ['bridge.min.js', 'Kusto.Language.Bridge.min.js']) {
  vm.runInThisContext(readFileSync(path.join(folder, script), 'utf8'), {filename: script});
}
const {KustoCode, GlobalState, Symbols} = globalThis.Kusto.Language;

const asked = JSON.parse(readFileSync(0, 'utf8'));

const table = ([name, columns]) =>
  new Symbols.TableSymbol.$ctor7(
    name,
    '(' + Object.entries(columns).map(([column, type]) => `['${column}']: ${type}`).join(', ') + ')',
    null,
  );
const saved = ([name, {parameters, body}]) => new Symbols.FunctionSymbol.$ctor16(name, `(${parameters})`, `{\n${body}\n}`, null);

function globals() {
  const members = [...Object.entries(asked.tables).map(table), ...Object.entries(asked.functions).map(saved)];
  return GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor('LogAnalytics', members));
}

function errors(text, code) {
  const found = code.GetDiagnostics();
  return Array.from({length: found.Count}, (_, index) => found.getItem(index))
    .filter((each) => each.Severity !== 'Suggestion' && each.Severity !== 'Information')
    .map((each) => {
      const before = text.slice(0, each.Start).split('\n');
      return `${before.length}:${before.at(-1).length + 1} ${each.Code} ${each.Message}`;
    });
}

function columns(code) {
  const result = code.ResultType;
  if (!result || !result.Columns) return {};
  return Object.fromEntries(
    Array.from({length: result.Columns.Count}, (_, index) => result.Columns.getItem(index)).map((each) => [each.Name, each.Type.Name]),
  );
}

const known = globals();
const answer = {};
for (const [name, text] of Object.entries(asked.queries)) {
  const code = KustoCode.ParseAndAnalyze(text, known);
  answer[name] = {errors: errors(text, code), columns: columns(code)};
}
process.stdout.write(JSON.stringify(answer));
