//! The charts and tables of docs/performance.md are those that the benchmark draws from docs/figures/*.json.

#[path = "../benches/peers/figures/mod.rs"]
mod figures;

use std::fs;
use std::path::Path;

#[test]
fn charts_and_tables_are_drawn_from_the_figures() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let drawn = figures::drawn(&docs).expect("figures, and a page with places for them");
    assert!(drawn.len() > 1, "no figures");
    for (path, text) in drawn {
        let old = fs::read_to_string(&path).unwrap_or_default();
        let path = path.display();
        assert!(
            old == text,
            "{path} is not as drawn from the figures: cargo bench --bench peers -- --charts"
        );
    }
}
