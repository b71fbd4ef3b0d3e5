use std::collections::BTreeSet;
use std::fs;

use super::*;

/// What a browser loads to show the first page.
const BUNDLE_BYTES_MAX: usize = 120 * 1024;

fn get_with(path: &str, known: &str, is_on: bool) -> Option<Response<Bytes>> {
    let mut request = Request::builder().uri(path);
    if !known.is_empty() {
        request = request.header(IF_NONE_MATCH, known);
    }
    page(&request.body(Bytes::new()).unwrap(), &Settings { ui: is_on, ..Settings::default() })
}

fn get(path: &str) -> Response<Bytes> {
    get_with(path, "", true).unwrap_or_else(|| panic!("{path} is of the UI"))
}

fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().map(|it| (it.name, std::str::from_utf8(it.bytes).unwrap()))
}

/// What stands between `before` and the next `after`, each time.
fn between<'a>(text: &'a str, before: &str, after: char) -> Vec<&'a str> {
    let parts = text.split(before).skip(1);
    parts.map(|it| it.split(after).next().expect("split gives one at least")).collect()
}

#[test]
#[allow(clippy::disallowed_methods)] // What is in the folder can only be asked of the disk.
fn every_file_of_the_folder_is_served_and_the_whole_is_small() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/ui");
    let there = fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name());
    let there: BTreeSet<String> = there.map(|it| it.into_string().unwrap()).collect();
    let served: BTreeSet<String> = FILES.iter().map(|it| it.name.to_owned()).collect();
    assert_eq!(there, served);
    let bytes: usize = FILES.iter().map(|it| it.bytes.len()).sum();
    assert!(bytes <= BUNDLE_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn a_file_has_its_type_and_the_headers_that_guard_it() {
    for it in FILES {
        let response = get(&format!("/ui/{}", it.name));
        assert_eq!((response.status(), &response.body()[..]), (StatusCode::OK, it.bytes));
        let extension = it.name.rsplit('.').next().unwrap();
        let expected = match extension {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => panic!("a kind of file that nobody thought of: {}", it.name),
        };
        let headers = response.headers();
        assert_eq!(headers[CONTENT_TYPE], expected, "{}", it.name);
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[REFERRER_POLICY], "no-referrer");
        assert_eq!(headers[CACHE_CONTROL], "no-cache");
    }
}

#[test]
fn a_file_that_the_browser_has_is_not_sent_again() {
    let first = get("/ui/app.js");
    let tag = first.headers()[ETAG].to_str().unwrap();
    for known in [tag.to_owned(), format!("W/{tag}"), format!("\"old\", {tag}"), "*".to_owned()] {
        let response = get_with("/ui/app.js", &known, true).unwrap();
        assert_eq!((response.status(), response.body().len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(response.headers()[ETAG], tag);
    }
    for unknown in ["\"old\"", &tag[1..]] {
        let response = get_with("/ui/app.js", unknown, true).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_ne!(get("/ui/api.js").headers()[ETAG], tag);
}

#[test]
fn paths_of_pages_give_the_index_and_unknown_files_do_not() {
    for path in [
        "/ui/",
        "/ui/dc1",
        "/ui/dc1/services",
        "/ui/overview",
        "/ui/dc1/nodes/n1.example.com",
        "/ui/dc1/kv/app/config.json/edit",
        "/ui/dc1/services/a%2Fb/instances?status=critical",
    ] {
        let response = get(path);
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[CONTENT_TYPE], HTML, "{path}");
    }
    for path in ["/ui/gone.js", "/ui/.", "/ui/app.js.map", "/ui/INDEX.HTML"] {
        assert_eq!(get(path).status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn the_front_page_leads_to_the_ui() {
    for path in ["/", "/ui"] {
        let response = get(path);
        assert_eq!(response.status(), StatusCode::FOUND, "{path}");
        assert_eq!(response.headers()[LOCATION], "/ui/", "{path}");
    }
}

#[test]
fn what_is_not_of_the_ui_is_left_to_others() {
    for path in ["/v1/agent/self", "/uid", "/ui.html", "/leno/v1/status"] {
        assert!(get_with(path, "", true).is_none(), "{path}");
    }
    let post = Request::post("/ui/").body(Bytes::new()).unwrap();
    assert!(page(&post, &Settings::default()).is_none());
}

#[test]
fn a_ui_that_is_off_says_how_to_switch_it_on() {
    let welcome = get_with("/", "", false).unwrap();
    assert_eq!(welcome.status(), StatusCode::OK);
    assert!(String::from_utf8_lossy(welcome.body()).contains("leno services"));
    for path in ["/ui", "/ui/", "/ui/app.js", "/ui/dc1/services"] {
        let response = get_with(path, "", false).unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(String::from_utf8_lossy(response.body()).contains("ui_config.enabled"), "{path}");
    }
}

#[test]
fn an_address_without_the_ui_says_that_there_is_another() {
    for (path, status, word) in
        [("/", StatusCode::OK, "leno services"), ("/ui/", StatusCode::NOT_FOUND, "leno.ui")]
    {
        let request = Request::builder().uri(path).extension(WithoutUi).body(Bytes::new()).unwrap();
        let response = page(&request, &Settings::default()).unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert!(String::from_utf8_lossy(response.body()).contains(word), "{path}");
    }
}

#[test]
fn the_index_refers_to_files_and_pages_that_exist() {
    let index = std::str::from_utf8(FILES[0].bytes).unwrap();
    let mut named = BTreeSet::new();
    for url in [between(index, "src=\"", '"'), between(index, "href=\"", '"')].concat() {
        let Some(name) = url.strip_prefix(HOME) else {
            assert!(url.starts_with('#'), "{url} is of another server");
            continue;
        };
        if name.contains('.') {
            named.insert(name);
        }
        assert!(file(name).is_some(), "{url}");
    }
    let others = FILES.iter().map(|it| it.name).filter(|it| *it != INDEX);
    assert_eq!(named, others.collect(), "all are fetched at once, and not one after another");
}

#[test]
fn modules_import_names_that_their_neighbours_export() {
    let mut count = 0;
    for (name, script) in texts().filter(|(name, _)| name.ends_with(".js")) {
        for statement in between(script, "\nimport ", ';') {
            let (names, from) = statement.split_once(" from ").expect("an import says from where");
            let from = from.trim_matches('\'').strip_prefix("./").expect("it is a neighbour");
            let source = texts().find(|(other, _)| *other == from);
            let (_, source) = source.unwrap_or_else(|| panic!("{name} imports {from}"));
            let names = names.trim_start_matches('{').trim_end_matches('}').split(',');
            for wanted in names.map(str::trim) {
                let is_exported = ["function ", "async function ", "const ", "class "]
                    .iter()
                    .flat_map(|kind| between(source, &format!("\nexport {kind}"), '\n'))
                    .any(|it| {
                        let is_of_name = |it: char| it.is_alphanumeric() || it == '_';
                        it.split(|it| !is_of_name(it)).next() == Some(wanted)
                    });
                assert!(is_exported, "{name} imports {wanted} from {from}");
                count += 1;
            }
        }
        assert!(!script.contains("import("), "{name}: what is loaded later is not checked here");
    }
    assert!(count > 50, "only {count} imports were found");
}

#[test]
fn nothing_in_the_files_needs_what_the_policy_forbids() {
    for (name, text) in texts() {
        for forbidden in [
            "<style",
            " style=",
            "javascript:",
            "eval(",
            "new Function",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "cssText",
        ] {
            assert!(!text.contains(forbidden), "{name} has {forbidden}");
        }
        for elsewhere in [" src=\"http", " href=\"http", "url(http", "@import"] {
            assert!(!text.contains(elsewhere), "{name} has {elsewhere}");
        }
    }
    let index = std::str::from_utf8(FILES[0].bytes).unwrap();
    for tag in between(index, "<script", '>') {
        assert!(tag.contains(" src=\""), "an inline script: <script{tag}>");
    }
    for attribute in between(index, " on", '"') {
        assert!(!attribute.ends_with('='), "a listener in an attribute: on{attribute}");
    }
}
