//! Memory of the process: idle, and while 1 GiB is uploaded.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::server::Server;
use crate::workspace::Workspace;

const SIZE: u64 = 1 << 30;

pub(super) fn bench(workspace: &Workspace) -> Result<()> {
    // The first start compiles the components, and keeps what memory that took.
    let first = Server::tessera(workspace)?;
    let compiled = first.memory()?;
    let server = first.again(workspace)?;
    let started = server.memory()?;
    let token = server.user()?;
    let idle = server.memory()?;
    let uploading = AtomicBool::new(true);
    let (peak, elapsed) = thread::scope(|scope| -> Result<(f64, Duration)> {
        let watch = scope.spawn(|| {
            let mut peak = idle;
            while uploading.load(Ordering::Relaxed) {
                peak = peak.max(server.memory()?);
                thread::sleep(Duration::from_millis(20));
            }
            anyhow::Ok(peak)
        });
        let start = Instant::now();
        let uploaded = server.upload(&token, ureq::SendBody::from_reader(&mut io::repeat(0xA5).take(SIZE)));
        let elapsed = start.elapsed();
        uploading.store(false, Ordering::Relaxed);
        uploaded?;
        Ok((watch.join().map_err(|_| anyhow!("the watch on the memory ended"))??, elapsed))
    })?;
    println!("idle, after compiling     {compiled:>6.1} MiB");
    println!("idle, started again       {started:>6.1} MiB");
    println!("before the upload         {idle:>6.1} MiB");
    println!("peak, uploading 1 GiB     {peak:>6.1} MiB");
    println!("growth                    {:>6.1} MiB", peak - idle);
    println!("upload                    {:>6.0} MiB/s", 1024.0 / elapsed.as_secs_f64());
    Ok(())
}
