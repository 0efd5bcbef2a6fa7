//! `make demo`: the story from end to end, on real images. `KEEP=1` leaves the stack running.

use std::process::ExitCode;

use trust_tests::demo::Demo;
use trust_tests::stack::tools_dir;

fn main() -> ExitCode {
    let parent = tools_dir().parent().map(|p| p.join("demo")).unwrap_or_default();
    let dir = parent.join(std::process::id().to_string());
    let outcome = std::fs::create_dir_all(&dir).and_then(|()| Demo::start(&dir)).and_then(|mut demo| {
        let wrong = demo.tell()?;
        if std::env::var("KEEP").is_ok_and(|v| v == "1") {
            demo.keep();
        } else {
            drop(demo);
            std::fs::remove_dir_all(&dir)?;
        }
        Ok(wrong)
    });
    match outcome {
        Ok(0) => {
            println!("\nEverything was as expected.");
            ExitCode::SUCCESS
        }
        Ok(n) => {
            println!("\n{n} checks failed.");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("the demo could not go on: {error}");
            ExitCode::FAILURE
        }
    }
}
