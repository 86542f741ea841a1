//! Which component answers a path, by Spin's rules: the more specific route wins.

use std::sync::Arc;

use matchit::Router;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::ProxyHandler;

use super::activity::Activity;
use super::instances::Instances;
use crate::app::component::Component;
use crate::manifest::{Route, Segment, StaticResponse};

/// What serves a route.
pub(crate) enum Target {
    /// A component's handler.
    Component(Served),
    /// The host itself.
    Static(StaticResponse),
}

/// A component with its instances.
pub(crate) struct Served {
    pub(crate) component: Arc<Component>,
    handler: ProxyHandler<Instances>,
}

impl Target {
    /// A component's HTTP handler.
    ///
    /// # Errors
    /// If it exports none.
    pub(crate) fn component(component: Arc<Component>) -> wasmtime::Result<Self> {
        let instances = Instances::new(Arc::clone(&component), component.http()?);
        Ok(Self::Component(Served { component, handler: ProxyHandler::new(instances) }))
    }
}

impl Served {
    /// Lets one of the component's instances answer.
    ///
    /// # Errors
    /// What the instance trapped with, or [`wasmtime_wasi_http::handler::ExpirationError`].
    pub(crate) async fn handle(
        &self,
        activity: Arc<Activity>,
        request: http::Request<WasiBody>,
    ) -> wasmtime::Result<http::Response<WasiBody>> {
        self.handler.handle(activity, request).await
    }
}

/// All routes of an application.
#[derive(Default)]
pub(crate) struct Routes(Router<Arc<Target>>);

impl Routes {
    /// Lets `target` answer `route`. Of two routes for the same paths the first wins; the manifest
    /// has refused those already.
    pub(crate) fn add(&mut self, route: &Route, target: &Arc<Target>) {
        let mut path = String::new();
        for (index, segment) in route.segments().iter().enumerate() {
            path.push('/');
            match segment {
                Segment::Literal(text) => path.push_str(text),
                // By position: the router wants parameters of overlapping routes to agree in name.
                Segment::Parameter(_) => path.push_str(&format!("{{p{index}}}")),
            }
        }
        let mut insert = |path: String| _ = self.0.insert(path, Arc::clone(target));
        if route.is_wildcard() {
            insert(format!("{path}/{{*rest}}"));
        }
        insert(format!("{path}/"));
        if !path.is_empty() {
            insert(path);
        }
    }

    /// What answers this path.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Target>> {
        self.0.at(path).ok().map(|found| found.value)
    }
}
