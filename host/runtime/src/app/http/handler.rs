//! How a component's instances are given requests.

use std::sync::Arc;

use http::{Request, Response};
use tokio::runtime::Handle;
use wasmtime::Result;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::ProxyHandler;

use super::activity::Activity;
use super::instances::Instances;
use super::wagi::Script;
use super::whole::Whole;
use crate::app::component::Component;
use crate::cpu::{TICK, serves, spawning};

/// What calls a component for HTTP.
pub(crate) enum Handler {
    /// By `wasi:http`, with bodies that flow.
    Proxy {
        /// Gives requests to instances, and makes them.
        proxy: ProxyHandler<Instances>,
        /// The threads that serve.
        serve: Handle,
    },
    /// By older interfaces, with whole bodies.
    Whole(Whole),
}

impl Handler {
    /// What calls this component; `None` if nothing can.
    pub(crate) fn of(component: &Arc<Component>) -> Option<Self> {
        if let Some(arguments) = &component.wagi {
            return Script::new(component, arguments).ok().map(|script| Self::Whole(Whole::Wagi(script)));
        }
        if let Ok(pre) = component.http() {
            let proxy = ProxyHandler::new(Instances::new(Arc::clone(component), pre));
            return Some(Self::Proxy { proxy, serve: Handle::current() });
        }
        component.serves_legacy_http().then_some(Self::Whole(Whole::Inbound))
    }

    /// Lets an instance of `component` answer.
    ///
    /// # Errors
    /// What the instance trapped with, or [`wasmtime_wasi_http::handler::ExpirationError`].
    pub(super) async fn handle(
        &self,
        component: &Component,
        activity: Arc<Activity>,
        request: Request<WasiBody>,
    ) -> Result<Response<WasiBody>> {
        match self {
            Self::Proxy { proxy, serve } => {
                let computes = component.stats.load.average() >= TICK;
                if !computes {
                    serves();
                }
                spawning(proxy.handle(activity, request), computes, serve).await
            }
            Self::Whole(whole) => whole.handle(component, activity, request).await,
        }
    }
}
