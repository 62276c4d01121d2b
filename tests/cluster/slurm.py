"""A real Slurm on this machine alone, for tests: munged, slurmctld and slurmd in a folder, with ports, key and socket of their own.

By hand: `python tests/cluster/slurm.py FOLDER` starts one and keeps it until Ctrl-C; in another shell, `export SLURM_CONF=FOLDER/slurm.conf`.
Debian's packages bring all it needs: apt-get install --no-install-recommends slurm-wlm munge
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
CONF = """
ClusterName=ncf
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=100000,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=10
MessageTimeout=30
OverTimeLimit=0
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=scavenge Nodes={host} MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
PartitionName=abrupt Nodes={host} MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
"""


def missing() -> str:
    """Why no Slurm can be started here, empty where one can."""
    absent = [name for name in NEEDED if not shutil.which(name, path=PLACES)]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: apt-get install --no-install-recommends slurm-wlm munge)"
    return "" if os.getuid() == 0 else "slurmd starts only as root"


class Slurm:
    """A context in which SLURM_CONF in os.environ points to a running Slurm of one node and `cpus` CPUs."""

    def __init__(self, folder: Path, cpus: int = 4):
        self.folder, self.cpus = folder.resolve(), cpus
        self.daemons: list[subprocess.Popen] = []

    def __enter__(self) -> "Slurm":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        subprocess.run(["scancel", "--full", "--user=root"], capture_output=True)
        self.stop()

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        conf = self.folder / "slurm.conf"
        conf.write_text(CONF.format(host=socket.gethostname().split(".")[0], folder=self.folder, ports=free_ports(2), cpus=self.cpus))
        os.environ["SLURM_CONF"] = str(conf)
        own = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
        self.run("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *own)
        self.wait_for((self.folder / "munge.socket").exists)
        self.run("slurmctld", "-D", "-f", str(conf))
        self.run("slurmd", "-D", "-f", str(conf))
        self.wait_for(lambda: subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout.startswith("idle"))

    def run(self, name: str, *arguments: str) -> None:
        with open(self.folder / f"{name}.out", "w") as output:
            words = [shutil.which(name, path=PLACES), *arguments]
            self.daemons.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True))

    def wait_for(self, ready) -> None:
        for _ in range(300):
            dead = [daemon.args[0] for daemon in self.daemons if daemon.poll() is not None]
            if dead:
                raise RuntimeError(f"{dead[0]} ended; see {self.folder}")
            if ready():
                return
            time.sleep(0.1)
        raise RuntimeError(f"Slurm did not come up in 30 s; see {self.folder}")

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        os.environ.pop("SLURM_CONF", None)


def free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


if __name__ == "__main__":
    with Slurm(Path(sys.argv[1])) as slurm:
        print(f"export SLURM_CONF={slurm.folder}/slurm.conf", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass
