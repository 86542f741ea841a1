//! A component ready to run: compiled, linked, with its grants and limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;
use tokio::sync::Semaphore;
use wasmtime::component::{Component as Compiled, InstancePre};
use wasmtime::{Engine, Result, Store};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::app::admission::Admission;
use crate::app::life::Life;
use crate::bindings::spin::RedisSubscriberPre;
use crate::bindings::{QueueConsumerPre, legacy_http};
use crate::cpu::Turns;
use crate::engine;
use crate::grants::Grants;
use crate::manifest::{Limits, Reuse};
use crate::network::{Names, Network};
use crate::state::State;
use crate::stats::Stats;
use crate::stdio::GuestOutput;
use crate::trace;

/// A directory that a component may read.
#[derive(Clone)]
pub(crate) struct Mount {
    /// On this machine.
    pub(crate) directory: PathBuf,
    /// As the component sees it.
    pub(crate) path: String,
    /// Set if it was made for the component; gone with the last of its versions.
    pub(crate) staged: Option<Arc<TempDir>>,
}

/// What the manifest says about a component, as its instances need it.
pub(crate) struct Settings {
    /// What it may use, and reach over the network.
    pub(crate) network: Arc<Network>,
    /// How much of it.
    pub(crate) limits: Limits,
    /// How many requests an instance may serve; `None`: what its version of WASI suggests.
    pub(crate) reuse: Option<Reuse>,
    /// Environment variables.
    pub(crate) environment: BTreeMap<String, String>,
    /// Directories that it may read.
    pub(crate) mounts: Vec<Mount>,
    /// Who may compute for long; one for a whole application.
    pub(crate) turns: Arc<Turns>,
    /// The arguments to run it with for each request, if it is a program that is run so.
    pub(crate) wagi: Option<String>,
}

/// Which binary a component is.
#[derive(Clone)]
pub(crate) struct Identity {
    /// SHA-256 of the Wasm file, in hexadecimal.
    pub(crate) hash: Arc<str>,
    /// When it was made ready to run.
    pub(crate) since: SystemTime,
}

/// How a component serves HTTP, if it does.
pub(crate) type HttpPre = wasmtime_wasi_http::handler::ProxyPre<State>;

/// A component of the running application. Immutable; its instances come and go.
pub(crate) struct Component {
    pub(crate) id: Arc<str>,
    pub(crate) version: Identity,
    pub(crate) life: Life,
    /// What this version of it did.
    pub(crate) stats: Arc<Stats>,
    pub(crate) limits: Limits,
    /// How many requests an instance may serve; `None`: what its version of WASI suggests.
    pub(crate) reuse: Option<Reuse>,
    /// The way in for requests, calls and deliveries.
    pub(crate) admission: Arc<Admission>,
    /// Who may compute for long.
    turns: Arc<Turns>,
    /// Permits for outgoing requests.
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) compiled: Compiled,
    pub(crate) pre: InstancePre<State>,
    consumer: Option<QueueConsumerPre<State>>,
    redis_subscriber: Option<RedisSubscriberPre<State>>,
    engine: Engine,
    network: Arc<Network>,
    environment: BTreeMap<String, String>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) wagi: Option<String>,
}

impl Component {
    pub(crate) fn new(pre: InstancePre<State>, hash: Arc<str>, settings: Settings) -> Self {
        let Settings { network, limits, reuse, environment, mounts, turns, wagi } = settings;
        let id = Arc::clone(&network.grants().component);
        let stats = Arc::new(Stats::new(Arc::clone(&network.grants().exceeded)));
        Self {
            admission: Arc::new(Admission::new(Arc::clone(&id), &limits)),
            id,
            version: Identity { hash, since: SystemTime::now() },
            life: Life::default(),
            limits,
            reuse,
            turns,
            stats,
            connections: Arc::new(Semaphore::new(limits.connections)),
            compiled: pre.component().clone(),
            consumer: QueueConsumerPre::new(pre.clone()).ok(),
            redis_subscriber: RedisSubscriberPre::new(&pre),
            engine: pre.engine().clone(),
            pre,
            network,
            environment,
            mounts,
            wagi,
        }
    }

    /// What it may use.
    pub(crate) fn grants(&self) -> &Grants {
        self.network.grants()
    }

    /// A fresh store for one instance, which may compute for as long as one call.
    pub(crate) fn store(&self) -> Result<Store<State>> {
        self.store_with(|_| ())
    }

    /// A fresh store for one instance, with a WASI context that `change` has changed.
    pub(crate) fn store_with(&self, change: impl FnOnce(&mut WasiCtxBuilder)) -> Result<Store<State>> {
        let output = |error| GuestOutput { grants: Arc::clone(self.network.grants()), error };
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(output(false)).stderr(output(true));
        for (name, value) in &self.environment {
            wasi.env(name, value);
        }
        for mount in &self.mounts {
            wasi.preopened_dir(&mount.directory, &mount.path, FsPerms::ReadOnly)?;
        }
        change(&mut wasi);
        let names = Arc::<Names>::default();
        self.network.open_sockets(&mut wasi, &names);
        let network = Arc::clone(&self.network);
        let state = State::new(network, wasi.build(), names, &self.limits, &self.connections, &self.stats);
        state.cpu.allow(self.limits.cpu_time.unwrap_or(Limits::CPU_TIME));
        let mut store = engine::store(&self.engine, state, &self.turns, self.limits.resources);
        trace::follow(&mut store, |state| &mut state.tasks);
        Ok(store)
    }

    /// The way to call its HTTP handler, of WASI 0.3 or 0.2.
    ///
    /// # Errors
    /// If it exports neither.
    pub(crate) fn http(&self) -> Result<HttpPre> {
        use wasmtime_wasi_http::{p2, p3};
        if self.exports("wasi:http/incoming-handler@0.2.0") {
            return Ok(HttpPre::P2(p2::bindings::ProxyPre::new(self.pre.clone())?));
        }
        Ok(HttpPre::P3(p3::bindings::ServicePre::new(self.pre.clone())?))
    }

    /// Whether it serves HTTP as components did before WASI had that.
    pub(crate) fn serves_legacy_http(&self) -> bool {
        self.exports(legacy_http::INBOUND)
    }

    /// The way to call its queue consumer, if it exports one.
    pub(crate) fn consumer(&self) -> Option<&QueueConsumerPre<State>> {
        self.consumer.as_ref()
    }

    /// The way to call its handler of messages from Redis, if it exports one.
    pub(crate) fn redis_subscriber(&self) -> Option<&RedisSubscriberPre<State>> {
        self.redis_subscriber.as_ref()
    }

    fn exports(&self, interface: &str) -> bool {
        self.compiled.get_export_index(None, interface).is_some()
    }
}
