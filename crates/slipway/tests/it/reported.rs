//! `slipway report`: a page about a build, as a file and in a browser.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use slipway_test::browser::{Browser, Key};
use slipway_test::capability::Capability;
use slipway_test::tar;

use crate::site::{Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_page_tells_what_a_build_did_and_why", a_page_tells_what_a_build_did_and_why),
    test("a_failed_build_has_a_page", a_failed_build_has_a_page),
    test("builds_are_compared", builds_are_compared),
    test("what_steps_wrote_is_no_markup", what_steps_wrote_is_no_markup),
    Test { name: "a_browser_shows_the_page", needs: &[Capability::Chromium], run: a_browser_shows_the_page },
    Test { name: "the_page_is_clicked", needs: &[Capability::Chromium], run: the_page_is_clicked },
    Test { name: "the_page_is_used_by_keyboard", needs: &[Capability::Chromium], run: the_page_is_used_by_keyboard },
    Test { name: "the_page_fits_a_phone", needs: &[Capability::Chromium], run: the_page_fits_a_phone },
    Test { name: "parts_of_the_page_have_names", needs: &[Capability::Chromium], run: parts_of_the_page_have_names },
    Test { name: "a_page_of_ten_thousand_steps", needs: &[Capability::Chromium], run: a_page_of_ten_thousand_steps },
    Test {
        name: "a_browser_runs_nothing_of_a_log",
        needs: &[Capability::Chromium],
        run: a_browser_runs_nothing_of_a_log,
    },
];

const STAGES: &str = "FROM busybox AS base
RUN echo base-was-here
FROM base AS build
COPY a /a
RUN cat /a; head -c 500000 /dev/zero > /made; sleep 0.2
FROM base
COPY --from=build /made /
";

fn site() -> Site {
    let site = Site::new(STAGES);
    site.write("a", "one\n");
    site.build(&["--network=none", "-t", "app"]).success();
    site
}

#[track_caller]
fn report(site: &Site, arguments: &[&str]) -> String {
    let outcome = run(site.slipway().args(["report", "-o", "-"]).args(arguments)).success();
    String::from_utf8(outcome.stdout).unwrap()
}

#[track_caller]
fn assert_has(page: &str, expected: &[&str]) {
    for text in expected {
        assert!(page.contains(text), "`{text}` is not in\n{page}");
    }
}

fn a_page_tells_what_a_build_did_and_why() {
    let site = site();
    site.write("a", "two\n");
    site.build(&["--network=none", "-t", "app"]).success();
    let page = report(&site, &[]);
    assert_has(
        &page,
        &[
            "<h1>ctx</h1>",
            "<li>a: content</li>",
            "<li>it uses [build 1/2] COPY a /a, which differs</li>",
            "class=\"bar ran critical\"",
            "COPY --from=build /made /",
            "in the image\"><span>COPY --from=build /made /</span>",
            "Saved by the cache",
            "app:latest",
            "<span class=\"mark hit\" title=\"Cached\">",
            "build is based on base.",
        ],
    );
    let told = run(site.slipway().args(["report", "^1"])).success().stderr;
    assert_eq!(told, "The report is in slipway-report.html\n");
    let page = fs::read_to_string(site.path("ctx/slipway-report.html")).unwrap();
    assert_has(&page, &["base-was-here", "no earlier build of this step is remembered"]);
    let told = run(site.slipway().args(["report", "^9"])).failure();
    assert!(told.contains("no completed build found with offset 9"), "{told}");
    site.assert_tidy();
}

fn a_failed_build_has_a_page() {
    let site = Site::new("FROM busybox\nRUN echo about to fail; exit 7\nRUN true\n");
    site.build(&["--network=none"]).failure();
    assert_has(
        &report(&site, &[]),
        &["The build failed", "exit code: 7", "about to fail", "<details open>", "Not reached"],
    );
}

fn builds_are_compared() {
    let site = site();
    site.write("Dockerfile", &STAGES.replace("COPY a /a\n", "COPY a /b\n").replace("500000", "900000"));
    site.build(&["--network=none"]).success();
    site.write("Dockerfile", &STAGES.replace("500000", "900000"));
    site.build(&["--network=none"]).success();
    let page = report(&site, &["^0", "--against", "^1"]);
    assert_has(&page, &["Compared with <code>", ">gone</td>", ">new</td>", "<td class=\"n\">cached</td>"]);
}

fn what_steps_wrote_is_no_markup() {
    let evil = r"printf '</pre><script>alert(1)</script>\033[31mred\033[0m<img src=x onerror=alert(1)>\n'";
    let site = Site::new(&format!("FROM busybox AS a\nLABEL x=\"<b>\"\nRUN {evil}\n"));
    site.build(&["--network=none", "--label", "y=<script>alert(2)</script>"]).success();
    let page = report(&site, &[]);
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\x1b'), "{page}");
    assert_has(&page, &["&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;red&lt;img", "y=&lt;script&gt;"]);
}

/// What the browser makes of the page at `url`, when all that is to happen has happened.
fn dom(site: &Site, url: &str) -> String {
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", site.name("browser")))
        .arg(url)
        .env("HOME", site.path("home"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The `<details>` elements that are open, by the ids in them.
fn open_steps(dom: &str) -> Vec<String> {
    let details = dom.split("<details open").skip(1).map(|rest| rest.split("</details>").next().unwrap());
    details.filter_map(|text| Some(text.split("id=\"step-").nth(1)?.split('"').next()?.to_owned())).collect()
}

/// A link to a step opens it: that is how bars, areas and rows of tables lead there.
fn a_browser_shows_the_page() {
    let site = site();
    run(site.slipway().args(["report", "-o", "r.html"])).success();
    let url = format!("file://{}", site.name("ctx/r.html"));
    let page = fs::read_to_string(site.path("ctx/r.html")).unwrap();
    let whole = dom(&site, &url);
    assert_eq!(whole.matches("<section").count(), page.matches("<section").count(), "{whole}");
    assert_eq!(whole.matches("<details").count(), page.matches("<details").count());
    assert!(open_steps(&whole).is_empty(), "nothing failed, so nothing is open");
    let bar = page.split("<a class=\"bar ran").nth(1).unwrap();
    let link = bar.split("href=\"#").nth(1).unwrap().split('"').next().unwrap();
    let followed = dom(&site, &format!("{url}#{link}"));
    assert_eq!(open_steps(&followed), [link.strip_prefix("step-").unwrap()]);
}

/// A browser at the page of a build that is compared with an earlier one, and the address of the page.
fn browser_at_page() -> (Site, Browser, String) {
    let site = site();
    site.write("a", "two\n");
    site.build(&["--network=none", "-t", "app"]).success();
    run(site.slipway().args(["report", "^0", "--against", "^1", "-o", "r.html"])).success();
    let mut browser = Browser::start(&site.path("browser")).unwrap();
    let url = format!("file://{}", site.name("ctx/r.html"));
    browser.open(&url).unwrap();
    (site, browser, url)
}

/// How many elements `selector` means.
fn count(browser: &mut Browser, selector: &str) -> u64 {
    let expression = format!("document.querySelectorAll({}).length", serde_json::json!(selector));
    browser.value(&expression).unwrap().as_u64().unwrap()
}

fn the_page_is_clicked() {
    let (_site, mut browser, _) = browser_at_page();
    assert_eq!(count(&mut browser, "details[open]"), 0);
    // A bar of the timeline leads to its step, which opens and is on the screen.
    browser.click("a.bar.critical").unwrap();
    let target = browser.value("location.hash").unwrap();
    assert!(target.as_str().unwrap().starts_with("#step-"), "{target}");
    assert_eq!(count(&mut browser, "details[open]"), 1);
    let is_seen = "(() => { const r = document.querySelector(':target').getBoundingClientRect(); \
                   return r.top >= 0 && r.top < innerHeight })()";
    assert_eq!(browser.value(is_seen).unwrap(), true);
    // What is open is closed by a click, and what is closed is opened.
    browser.click("details[open] > summary").unwrap();
    assert_eq!(count(&mut browser, "details[open]"), 0);
    browser.click("details.fallback > summary").unwrap();
    assert_eq!(count(&mut browser, "details.fallback[open] table"), 1);
    browser.click("details.fallback[open] table a").unwrap();
    assert_eq!(count(&mut browser, "details[open]"), 2);
    // Steps are filtered by a choice.
    let n_shown = "[...document.querySelectorAll('details:has([id^=step-])')].filter(e => e.checkVisibility()).length";
    let all = browser.value(n_shown).unwrap().as_u64().unwrap();
    let choices = browser.value("[...document.querySelectorAll('input[type=radio]')].map(e => e.id)").unwrap();
    let mut shown = Vec::new();
    for choice in choices.as_array().unwrap() {
        let label = format!("label[for='{}']", choice.as_str().unwrap());
        let selector = if count(&mut browser, &label) > 0 { label } else { format!("#{}", choice.as_str().unwrap()) };
        browser.click(&selector).unwrap();
        shown.push(browser.value(n_shown).unwrap().as_u64().unwrap());
    }
    assert_eq!(shown[0], all);
    assert!(shown.iter().any(|n| *n < all) && shown.iter().any(|n| *n > 0), "{shown:?}");
    // Sections are reached from the top.
    browser.click("nav a[href='#sizes']").unwrap();
    assert_eq!(browser.value("location.hash").unwrap(), "#sizes");
    assert_eq!(browser.value(is_seen).unwrap(), true);
}

fn the_page_is_used_by_keyboard() {
    let (_site, mut browser, _) = browser_at_page();
    let focused = "(() => { const e = document.activeElement; const r = e.getBoundingClientRect(); \
                   return [e.tagName, e.textContent.trim(), r.top + scrollY, getComputedStyle(e).outlineStyle] })()";
    let mut order = Vec::new();
    for _ in 0..200 {
        browser.press(Key::Tab).unwrap();
        let element = browser.value(focused).unwrap();
        if element[0] == "BODY" || (order.len() > 1 && element == order[0]) {
            break;
        }
        order.push(element);
    }
    assert_eq!(order[0][1], "Skip to the build");
    assert!(order.len() > 20, "{order:?}");
    assert!(order.iter().all(|element| element[3] != "none"), "who has the keyboard sees where: {order:?}");
    let headings = ["Timeline", "Stages", "Steps", "Sizes", "Comparison", "About"];
    let links: Vec<&str> = order[1..=headings.len()].iter().map(|element| element[1].as_str().unwrap()).collect();
    assert_eq!(links, headings);
    // From there on it goes down the page.
    let tops: Vec<f64> = order[headings.len() + 1..].iter().map(|element| element[2].as_f64().unwrap()).collect();
    let n_up = tops.windows(2).filter(|pair| pair[1] < pair[0] - 400.0).count();
    assert_eq!(n_up, 0, "{order:?}");
    // Enter follows a link, space opens what is closed.
    browser.value("document.querySelector('a.bar').focus()").unwrap();
    browser.press(Key::Enter).unwrap();
    assert_eq!(count(&mut browser, "details[open]"), 1);
    browser.value("document.querySelector('details.fallback > summary').focus()").unwrap();
    browser.press(Key::Space).unwrap();
    assert_eq!(count(&mut browser, "details.fallback[open]"), 1);
    browser.value("document.querySelector('input[type=radio]').focus()").unwrap();
    browser.press(Key::Down).unwrap();
    assert_eq!(count(&mut browser, "input[type=radio]:checked"), 1);
    assert_eq!(browser.value("document.querySelector('input[type=radio]').checked").unwrap(), false);
}

/// How many times above the timeline lie on the one before.
const OVERLAPPING_TIMES: &str = "[...document.querySelectorAll('.axis span')]
    .filter(time => getComputedStyle(time).color != 'rgba(0, 0, 0, 0)')
    .map(time => time.getBoundingClientRect())
    .filter((time, n, all) => n > 0 && all[n - 1].right > time.left + 1).length";
/// How many texts in the picture of sizes are cut off at the bottom.
const CUT_LABELS: &str = "[...document.querySelectorAll('.layer > *')]
    .filter(text => getComputedStyle(text).visibility == 'visible')
    .filter(text => text.getBoundingClientRect().bottom > text.parentElement.getBoundingClientRect().bottom + 1).length";

fn the_page_fits_a_phone() {
    let (_site, mut browser, url) = browser_at_page();
    let mut colors = Vec::new();
    for (width, is_dark) in [(360, false), (360, true), (320, false), (1200, true)] {
        browser.window(width, 740, width < 400, is_dark).unwrap();
        browser.open(&url).unwrap();
        let n_columns = browser.value("document.documentElement.scrollWidth").unwrap().as_u64().unwrap();
        assert!(n_columns <= u64::from(width), "{n_columns} columns in a window of {width}");
        for flaw in [OVERLAPPING_TIMES, CUT_LABELS] {
            assert_eq!(browser.value(flaw).unwrap(), 0, "{flaw} in a window of {width}");
        }
        colors.push(browser.value("getComputedStyle(document.body).backgroundColor").unwrap());
        let own = [url.clone()];
        assert_eq!(browser.requests(), own, "the page asks for nothing");
    }
    assert!(colors[0] == colors[2] && colors[1] == colors[3] && colors[0] != colors[1], "{colors:?}");
}

fn parts_of_the_page_have_names() {
    let (_site, mut browser, _) = browser_at_page();
    browser.value("document.querySelectorAll('details').forEach(e => e.open = true)").unwrap();
    let parts = browser.accessible().unwrap();
    let roles = ["link", "radio", "heading", "table", "region", "image", "navigation"];
    for role in roles {
        assert!(parts.iter().any(|(known, _)| known == role), "no {role}");
    }
    let is_nameless = |(role, name): &&(String, String)| roles.contains(&role.as_str()) && name.trim().is_empty();
    assert_eq!(parts.iter().find(is_nameless), None);
}

/// A build that nobody could wait for comes as a bundle.
fn a_page_of_ten_thousand_steps() {
    let site = Site::new("FROM busybox\n");
    let steps: Vec<serde_json::Value> = (0..10_000_u32)
        .map(|n| {
            serde_json::json!({
                "number": n, "name": format!("[s{} {}/100] RUN step {n}", n / 100, n % 100 + 1), "lines": [n + 1, n + 1],
                "started_ns": i64::from(n) * 1_000_000, "completed_ns": i64::from(n + 3) * 1_000_000, "error": null,
                "is_canceled": false, "hit": null, "vertex": {
                    "key": format!("sha256:{n:064x}"), "inputs": n.checked_sub(1).into_iter().collect::<Vec<_>>(),
                    "ignores_cache": false, "is_source": false,
                },
            })
        })
        .collect();
    let record = serde_json::json!({
        "id": "tenthousand", "started_ns": 0, "completed_ns": 11_000_000_000_i64, "status": "completed", "error": null,
        "image_id": null, "steps": steps, "request": {
            "context": "/many", "dockerfile": "Dockerfile", "target": null, "platforms": [], "build_args": [],
            "labels": [], "tags": [], "secrets": [],
        },
    });
    fs::write(site.path("ctx/many.dockerbuild"), bundle(record.to_string().as_bytes())).unwrap();
    run(site.slipway().args(["builds", "import", "-f", "many.dockerbuild"])).success();
    run(site.slipway().args(["report", "-o", "r.html"])).success();
    let mut browser = Browser::start(&site.path("browser")).unwrap();
    browser.open(&format!("file://{}", site.name("ctx/r.html"))).unwrap();
    assert_eq!(count(&mut browser, "details:has([id^=step-])"), 10_000);
    browser.click("a.bar").unwrap();
    assert_eq!(count(&mut browser, "details[open]"), 1);
}

/// A bundle as `builds export` writes it, with one record.
fn bundle(record: &[u8]) -> Vec<u8> {
    let digest = |bytes: &[u8]| slipway_oci::Digest::of(bytes);
    let blob = |media_type: &str, bytes: &[u8]| serde_json::json!({"mediaType": media_type, "digest": digest(bytes).as_str(), "size": bytes.len()});
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": manifest_type, "layers": [],
        "config": blob("application/vnd.slipway.build.record.v1+json", record),
    })
    .to_string();
    let index =
        serde_json::json!({"schemaVersion": 2, "manifests": [blob(manifest_type, manifest.as_bytes())]}).to_string();
    let entry = |path: String, data: &[u8]| tar::Entry {
        path,
        kind: tar::Kind::File,
        mode: 0o644,
        data: data.to_vec(),
        ..tar::Entry::default()
    };
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", digest(bytes).hex());
    let files = [
        entry(path(record), record),
        entry(path(manifest.as_bytes()), manifest.as_bytes()),
        entry("index.json".to_owned(), index.as_bytes()),
    ];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&tar::write(&files).unwrap()).unwrap();
    encoder.finish().unwrap()
}

fn a_browser_runs_nothing_of_a_log() {
    let evil = "printf '</pre><script>document.title=\"taken\"</script><svg onload=document.title=\"taken\">\\n'";
    let site = Site::new(&format!("FROM busybox\nRUN {evil}; exit 1\n"));
    site.build(&["--network=none"]).failure();
    run(site.slipway().args(["report", "-o", "r.html"])).success();
    let whole = dom(&site, &format!("file://{}", site.name("ctx/r.html")));
    assert!(whole.contains("<title>ctx · slipway</title>"), "{whole}");
    assert_eq!(open_steps(&whole).len(), 1, "what failed is open");
}
