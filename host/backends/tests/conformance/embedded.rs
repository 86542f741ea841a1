//! The embedded engine, alone and behind decorators.

use std::sync::Arc;

use tempfile::TempDir;
use tessera_backends::embedded::Engine;
use tessera_capability::kv::Store;
use tessera_capability::outbox::Outbox;
use tessera_capability::queue::Broker;
use tessera_capability::time::SystemClock;

fn engine() -> (Engine, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Engine::open(dir.path(), Arc::new(SystemClock)).unwrap(), dir)
}

async fn store() -> Option<(Arc<dyn Store>, TempDir)> {
    let (engine, dir) = engine();
    Some((engine.store("jobs"), dir))
}

async fn broker() -> Option<(Arc<dyn Broker>, TempDir)> {
    let (engine, dir) = engine();
    Some((engine.broker(), dir))
}

/// Store and queues in one engine, one transaction.
async fn both() -> Option<(Arc<dyn Store>, Arc<dyn Broker>, TempDir)> {
    let (engine, dir) = engine();
    Some((engine.store("jobs"), engine.broker(), dir))
}

/// The store of one engine and the queues of another, with an outbox between them.
async fn apart() -> Option<(Arc<dyn Store>, Arc<dyn Broker>, [TempDir; 2])> {
    let ((one, one_dir), (other, other_dir)) = (engine(), engine());
    let broker = other.broker();
    let outbox = Outbox::new(one.store("jobs"), Arc::clone(&broker), Arc::new(SystemClock));
    Some((Arc::new(outbox), broker, [one_dir, other_dir]))
}

async fn outbox() -> Option<(Arc<dyn Store>, [TempDir; 2])> {
    let (store, _, dirs) = apart().await?;
    Some((store, dirs))
}

mod kv {
    tessera_capability::kv_suite!(super::store);
}

mod kv_behind_an_outbox {
    tessera_capability::kv_suite!(super::outbox);
}

mod queue {
    tessera_capability::queue_suite!(super::broker);
}

mod publish {
    tessera_capability::kv_publish_suite!(super::both);
}

mod publish_through_an_outbox {
    tessera_capability::kv_publish_suite!(super::apart);
}
