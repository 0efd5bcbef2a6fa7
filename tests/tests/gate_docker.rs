//! A real Docker Engine that asks the authorization plugin.

use trust_tests::stack::engine::{self, Engine};
use trust_tests::stack::scene::{Scene, assert_exit};
use trust_tests::stack::{Options, run};

#[test]
fn an_engine_pulls_from_a_registry_outside_its_network() {
    if !engine::is_available("an engine") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(dir.path(), "engine", Options::default());
    let engine = Engine::start(&dir.path().join("engine")).unwrap();
    engine.expose(&scene.stack.registry).unwrap();
    let image = format!("{}/app:v0", scene.collection);
    assert_exit(&run(engine.docker().args(["pull", &image])).unwrap(), 0, "pull");
}
