//! `docs/contract-traceability.md`: for every endpoint its handler, the job that it enqueues, the codes that it can refuse
//! with and the tests that show it, each held against the code. `docs/api-contract.md` names every endpoint.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::Report;
use crate::markdown::{quoted, rows_below};
use crate::openapi::{Operations, operations};
use crate::repo::{Repo, TextFile};
use crate::source::{functions, test_part};

const PAGE: &str = "docs/contract-traceability.md";
const HEADING: &str = "## Endpoints";
const CONTRACT: &str = "docs/api-contract.md";
const OPENAPI: &str = "contracts/openapi.yaml";
const JOB_TYPES: &str = "contracts/job-types.json";
const ROUTES: &str = "crates/api/src/routes.rs";

/// What the page is held against.
struct Known {
    operations: Operations,
    /// Handlers by `METHOD path`, as the table of routes has them: `nodes::create`.
    handlers: BTreeMap<String, String>,
    /// Handlers that exist: `nodes::create`.
    functions: BTreeSet<String>,
    /// Job types by the request that enqueues them.
    job_types: BTreeMap<String, BTreeSet<String>>,
    /// Tests: `package::name`.
    tests: BTreeSet<String>,
}

/// Checks the page.
pub(crate) fn check(repo: &Repo) -> Result<Report> {
    let files = repo.files()?;
    let job_types: Value =
        serde_json::from_str(&repo.read(JOB_TYPES)?).with_context(|| format!("{JOB_TYPES} is not JSON"))?;
    let known = Known {
        operations: operations(&repo.read(OPENAPI)?),
        handlers: handlers(&repo.read(ROUTES)?),
        functions: files.iter().flat_map(api_functions).collect(),
        job_types: by_request(&job_types),
        tests: files.iter().flat_map(tests).collect(),
    };
    let mut problems = problems(&repo.read(PAGE)?, &known);
    problems.extend(untold(&repo.read(CONTRACT)?, &known.operations));
    Ok(Report {
        looked_at: format!("{} endpoints, {} tests", known.operations.len(), known.tests.len()),
        problems,
    })
}

fn problems(page: &str, known: &Known) -> Vec<String> {
    let mut problems = Vec::new();
    let mut told = BTreeSet::new();
    for cells in rows_below(page, HEADING) {
        let [endpoint, handler, job_types, codes, tests] = cells[..] else {
            problems.push(format!(
                "{PAGE}: a row of {} cells instead of 5: {cells:?}",
                cells.len()
            ));
            continue;
        };
        let endpoint = endpoint.trim_matches('`');
        let Some(refusals) = known.operations.get(endpoint) else {
            problems.push(format!("{PAGE}: {endpoint} is not in {OPENAPI}"));
            continue;
        };
        if !told.insert(endpoint.to_owned()) {
            problems.push(format!("{PAGE}: {endpoint} has two rows"));
        }
        let wrong = [
            wrong_handler(endpoint, handler, known),
            differing("job types", job_types, known.job_types.get(endpoint)),
            differing("error codes", codes, Some(refusals)),
        ];
        problems.extend(
            wrong
                .into_iter()
                .flatten()
                .map(|what| format!("{PAGE}: {endpoint}: {what}")),
        );
        let tests = quoted(tests);
        if tests.is_empty() {
            problems.push(format!("{PAGE}: {endpoint}: no test is named"));
        }
        let missing = tests.iter().filter(|name| !known.tests.contains(**name));
        problems.extend(missing.map(|name| format!("{PAGE}: {endpoint}: there is no test {name}")));
    }
    let prose = page.lines().filter(|line| !line.starts_with('|')).flat_map(quoted);
    let tests = prose.filter(|name| name.matches("::").count() == 1);
    let missing = tests.filter(|name| !known.tests.contains(*name));
    problems.extend(missing.map(|name| format!("{PAGE}: there is no test {name}")));
    let untold = known.operations.keys().filter(|endpoint| !told.contains(*endpoint));
    problems.extend(untold.map(|endpoint| format!("{PAGE}: {endpoint} has no row")));
    problems
}

fn wrong_handler(endpoint: &str, cell: &str, known: &Known) -> Option<String> {
    let told = cell.trim_matches('`').strip_prefix("api::").unwrap_or_default();
    if known.handlers.get(endpoint).map(String::as_str) != Some(told) {
        return Some(format!("{ROUTES} names another handler than {cell}"));
    }
    (!known.functions.contains(told)).then(|| format!("there is no function {cell}"))
}

/// What differs between a cell and what is known; `-` stands for nothing.
fn differing(what: &str, cell: &str, known: Option<&BTreeSet<String>>) -> Option<String> {
    let told: BTreeSet<&str> = quoted(cell).into_iter().collect();
    let known: BTreeSet<&str> = known.into_iter().flatten().map(String::as_str).collect();
    if told == known && !(told.is_empty() && cell != "-") {
        return None;
    }
    let list = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
    Some(format!("{what} are {}, not {}", list(&known), list(&told)))
}

fn untold(contract: &str, operations: &Operations) -> Vec<String> {
    let told: BTreeSet<&str> = quoted(contract).into_iter().collect();
    let missing = operations.keys().filter(|endpoint| !told.contains(endpoint.as_str()));
    missing
        .map(|endpoint| format!("{CONTRACT} does not name `{endpoint}`"))
        .collect()
}

/// The rows of the table of routes: `POST "/api/nodes" Session Json nodes::create => [Conflict];`.
fn handlers(routes: &str) -> BTreeMap<String, String> {
    let row = |line: &str| {
        let (before, _) = line.split_once("=>")?;
        let words: Vec<_> = before.split_whitespace().collect();
        let (method, path, handler) = (words.first()?, words.get(1)?, words.last()?);
        let path = path.strip_prefix('"')?.strip_suffix('"')?;
        Some((format!("{method} {path}"), (*handler).to_owned()))
    };
    routes.lines().filter_map(row).collect()
}

/// The functions of a module of the API, as `module::function`, by each of the modules that it is in.
fn api_functions(file: &TextFile) -> Vec<String> {
    let inner = file.path.strip_prefix("crates/api/src/");
    let Some(inner) = inner.and_then(|inner| inner.strip_suffix(".rs")) else {
        return Vec::new();
    };
    let found = functions(&file.text);
    let of = |module: &str| {
        let module = module.to_owned();
        found.iter().map(move |function| format!("{module}::{}", function.name))
    };
    inner.split('/').flat_map(of).collect()
}

fn by_request(registry: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for kind in registry["job_types"].as_array().into_iter().flatten() {
        let name = kind["job_type"].as_str().unwrap_or_default();
        let requests = kind["requests"].as_array().into_iter().flatten();
        for request in requests.filter_map(Value::as_str) {
            found.entry(request.to_owned()).or_default().insert(name.to_owned());
        }
    }
    found
}

/// A file's tests, as `package::name`. Scripts of the browser name a test by its first argument.
fn tests(file: &TextFile) -> Vec<String> {
    let mut folders = file.path.split('/').skip(1);
    let (Some(package), Some(tests)) = (folders.next(), test_part(file)) else {
        return Vec::new();
    };
    let names: Vec<String> = if file.path.ends_with(".rs") {
        let found = functions(tests).into_iter();
        found
            .filter(|function| function.is_test)
            .map(|function| function.name)
            .collect()
    } else {
        let calls = tests.split("test(").skip(1);
        let name = |call: &str| {
            let quote = call.chars().next().filter(|c| "\"'`".contains(*c))?;
            Some(call[1..].split(quote).next()?.to_owned())
        };
        calls.filter_map(name).collect()
    };
    names.into_iter().map(|name| format!("{package}::{name}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known() -> Known {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        Known {
            operations: [
                ("GET /a".to_owned(), set(&["internal"])),
                ("POST /a".to_owned(), set(&["conflict", "internal"])),
            ]
            .into(),
            handlers: handlers(
                "    GET  \"/a\" Session Unread a::list   => [];\n    POST \"/a\" Session Json   a::create => [Conflict];\n",
            ),
            functions: set(&["a::list", "a::create"]),
            job_types: by_request(&json!({"job_types": [{"job_type": "make", "requests": ["POST /a"]}]})),
            tests: set(&["api::lists", "e2e::makes"]),
        }
    }

    const GET: &str = "| `GET /a` | `api::a::list` | - | `internal` | `api::lists` |";
    const POST: &str =
        "| `POST /a` | `api::a::create` | `make` | `conflict`, `internal` | `api::lists`, `e2e::makes` |";

    fn found(rows: &[&str]) -> Vec<String> {
        let page = format!(
            "# T\n\n{HEADING}\n\n| endpoint | handler | job type | codes | tests |\n|---|---|---|---|---|\n{}\n",
            rows.join("\n")
        );
        problems(&page, &known())
    }

    #[test]
    fn a_page_that_tells_what_is_there_is_well() {
        assert_eq!(found(&[GET, POST]), Vec::<String>::new());
    }

    #[test]
    fn a_missing_a_second_and_an_unknown_row_are_found() {
        assert_eq!(found(&[GET]), [format!("{PAGE}: POST /a has no row")]);
        assert_eq!(found(&[GET, POST, GET]), [format!("{PAGE}: GET /a has two rows")]);
        let unknown = GET.replace("GET /a", "GET /b");
        let expected = format!("{PAGE}: GET /b is not in {OPENAPI}");
        assert_eq!(found(&[GET, POST, &unknown]), [expected]);
        assert_eq!(found(&[GET, POST, "| `GET /a` |"]).len(), 1);
        let expected = format!("{PAGE}: there is no test api::sings");
        assert_eq!(
            found(&[GET, POST, "", "See `api::lists` and `api::sings`."]),
            [expected]
        );
    }

    #[test]
    fn every_wrong_cell_of_a_row_is_found() {
        for (right, wrong, expected) in [
            ("a::create", "a::list", "another handler"),
            ("`make`", "-", "job types are make, not "),
            ("`make`", "", "job types are"),
            ("`conflict`, ", "", "error codes are conflict, internal, not internal"),
            ("`e2e::makes`", "`e2e::breaks`", "no test e2e::breaks"),
            ("`api::lists`, `e2e::makes`", "-", "no test is named"),
        ] {
            let found = found(&[GET, &POST.replace(right, wrong)]);
            assert!(found.len() == 1 && found[0].contains(expected), "{wrong}: {found:?}");
        }
        let mut known = known();
        known.functions.clear();
        assert!(
            wrong_handler("GET /a", "`api::a::list`", &known)
                .unwrap()
                .contains("no function")
        );
    }

    #[test]
    fn an_endpoint_that_the_contract_does_not_name_is_found() {
        let found = untold("`GET /a` and POST /a", &known().operations);
        assert_eq!(found, [format!("{CONTRACT} does not name `POST /a`")]);
    }

    #[test]
    fn tests_are_known_by_their_package() {
        let file = |path: &str, text: &str| TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let rust = file("crates/api/tests/api/a.rs", "#[test]\nfn b() {\n}\nfn c() {\n}\n");
        assert_eq!(tests(&rust), ["api::b"]);
        let page = file(
            "tests/browser/nodes.test.mjs",
            "test('a node is ready', async () => {})",
        );
        assert_eq!(tests(&page), ["browser::a node is ready"]);
        let module = file(
            "crates/api/src/events/stream.rs",
            "pub(crate) async fn list(\n    a: B,\n) {\n}\n",
        );
        assert_eq!(api_functions(&module), ["events::list", "stream::list"]);
    }
}
