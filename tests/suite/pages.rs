//! The repository's pages: what they lead to is there.

use std::path::Path;

const PAGES: [&str; 5] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];

/// Where a page's links and pictures lead, but for those that leave the repository or stay in the page.
fn leads_to(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    targets.filter(|to| !to.contains("://") && !to.starts_with('#')).map(|to| to.split('#').next().unwrap_or(to)).collect()
}

#[test]
fn links_and_pictures_of_the_pages_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pictures = 0;
    for page in PAGES {
        let text = std::fs::read_to_string(root.join(page)).expect(page);
        for to in leads_to(&text) {
            assert!(root.join(to).exists(), "{page} leads to {to}, which isn't there");
            pictures += usize::from(Path::new(to).extension().is_some_and(|extension| extension == "png"));
        }
    }
    let shown = std::fs::read_dir(root.join("docs")).expect("docs/").count();
    assert_eq!((pictures, shown), (3, 3), "three pictures are made by the browser tests, and the README shows them");
}

#[test]
fn links_are_told_from_what_leaves_the_page() {
    let page = "[a](b/c.md) ![d](e.png \"f\") [g](https://example.org) [h](#i) [j](k.md#l)";
    assert_eq!(leads_to(page), ["b/c.md", "e.png", "k.md"]);
}
