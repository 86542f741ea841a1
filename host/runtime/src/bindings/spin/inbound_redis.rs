//! Calls a component for a message of a Redis channel, through the interface of Spin 1 to 3 or of
//! Spin 4.

use tessera_capability::redis::Message;
use wasmtime::component::InstancePre;
use wasmtime::{Result, Store};

mod v1 {
    #![allow(missing_docs, unreachable_pub)]
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "tessera:platform/redis-subscriber-1",
        exports: { default: async },
        with: { "fermyon:spin/redis-types": super::super::generated::fermyon::spin::redis_types },
    });
}

mod v3 {
    #![allow(missing_docs, unreachable_pub)]
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "tessera:platform/redis-subscriber",
        exports: { default: async },
        with: { "spin:redis/redis": super::super::generated::spin::redis::redis },
    });
}

/// The way to call a component's handler of messages.
pub(crate) enum RedisSubscriberPre<T: 'static> {
    /// `fermyon:spin/inbound-redis`
    V1(v1::RedisSubscriber1Pre<T>),
    /// `spin:redis/inbound-redis@3.0.0`
    V3(v3::RedisSubscriberPre<T>),
}

impl<T: Send + 'static> RedisSubscriberPre<T> {
    /// None if the component exports no such handler; the newer one if it exports both.
    pub(crate) fn new(pre: &InstancePre<T>) -> Option<Self> {
        let newer = v3::RedisSubscriberPre::new(pre.clone()).map(Self::V3);
        newer.or_else(|_| v1::RedisSubscriber1Pre::new(pre.clone()).map(Self::V1)).ok()
    }

    /// Hands a message to a fresh instance in `store`; the inner error is the guest's.
    ///
    /// # Errors
    /// If the guest traps.
    pub(crate) async fn call(&self, store: &mut Store<T>, message: Message) -> Result<Result<(), String>> {
        match self {
            Self::V1(pre) => {
                let instance = pre.instantiate_async(&mut *store).await?;
                let handler = instance.fermyon_spin_inbound_redis();
                let result = handler.call_handle_message(&mut *store, &message.payload.into()).await?;
                Ok(result.map_err(|_| "it gives no reason".to_owned()))
            }
            Self::V3(pre) => {
                let instance = pre.instantiate_async(&mut *store).await?;
                let handler = instance.spin_redis_inbound_redis();
                let payload = message.payload.into();
                let result = store
                    .run_concurrent(async |accessor| handler.call_handle_message(accessor, payload).await)
                    .await??;
                Ok(result.map_err(|error| format!("{error:?}")))
            }
        }
    }
}
