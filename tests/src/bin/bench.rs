//! `make bench`: figures beside their floors, written to docs/performance.md. Figures only, never a verdict.

use trust_tests::bench::{beside, chain, line};

fn main() {
    println!("| case | ours: CPU (wall) | worst round | floor: CPU | ratio | goal |\n|---|---|---|---|---|---|");
    for tags in [10, 1_000] {
        let repository = chain::repository(tags);
        let operations = if tags > 100 { 50 } else { 500 };
        let (ours, floor) = beside(
            15,
            operations,
            || assert!(chain::ours(&repository, "api/v7")),
            || assert!(chain::floor(&repository, "api/v7")),
        );
        println!("{}", line(&format!("whole chain in process, {tags} tags"), &ours, &floor, "≤ 1.5"));
    }
}
