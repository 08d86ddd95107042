package engine

import (
	"fmt"
	"strings"

	"atalaya/agent/hostexec"
)

// vzCodes says what the exit codes of vzctl mean, each in words that stand behind "exit N: ". From
// kolyshkin/vzctl@0154b000 include/vzerror.h and the section EXIT STATUS of its vzctl.8; those seen for real are in the
// samples.
func vzCodes() map[int]string {
	return map[int]string{
		1: "its beancounters could not be set", 2: "its CPU scheduler could not be set", 3: "system error, or the lock folder cannot be used",
		5: "the host does not run an OpenVZ kernel", 6: "not enough resources", 7: "the kernel refused to make it",
		8: "the command inside failed", 9: "an operation holds its lock", 10: "the host's vz.conf is missing", 11: "a helper script of vzctl is missing",
		12: "permission denied", 13: "its capabilities could not be set", 14: "it has no configuration", 15: "the command inside timed out",
		16: "suspend failed", 17: "resume failed", 18: "its login uid could not be set",
		20: "vzctl does not know the option", 21: "vzctl refused a value or the id",
		22: "VE_ROOT is not set", 23: "VE_PRIVATE is not set", 24: "TEMPLATE is not set", 27: "a parameter is missing",
		28: "beancounters are missing in its configuration", 29: "it has no template",
		31: "it is not running", 32: "it is running already", 33: "it cannot be stopped", 34: "an address could not be added",
		35: "its configuration does not validate", 36: "its memory is overcommitted",
		40: "it is not mounted", 41: "it is mounted already", 43: "its private area is missing", 44: "its private area exists already",
		46: "no disk space", 47: "bad template: no init or no shell in it", 48: "its private area could not be made",
		49: "its mount point could not be made", 50: "its file system could not be mounted", 51: "its file system could not be unmounted",
		52: "its private area could not be deleted", 53: "unknown mount type", 54: "a folder could not be made", 55: "its quota limits are missing",
		60: "its disk quota could not be switched on", 61: "its disk quota could not be initialised", 62: "its disk quota could not be set",
		63: "DISKSPACE is not set", 64: "DISKINODES is not set", 65: "quota of users inside could not be set", 66: "its disk quota could not be switched off",
		67: "quota of users inside is not initialised", 68: "its quota usage could not be read",
		70: "bad host name", 71: "bad address", 72: "bad name server", 73: "bad search domain", 74: "the password could not be changed",
		77: "LOCKDIR is not set", 78: "its address is in use", 79: "an action script failed", 82: "its configuration could not be copied",
		85: "its configuration is invalid", 86: "its devices could not be set", 87: "applications could not be installed", 89: "its address is not available",
		91: "its package set was not found", 99: "ploop is not supported here", 100: "it has no address", 104: "a network device could not be given to it",
		105: "its start is disabled (DISABLED=yes)", 106: "iptables could not be set", 107: "no configuration of its distribution",
		108: "no script of its distribution", 109: "its configuration could not be applied", 128: "reinstall failed", 129: "its memory information could not be set",
		130: "its veth devices could not be set", 131: "its name could not be set", 133: "it did not reach its default runlevel",
		139: "its configuration could not be saved", 144: "its OS release could not be set", 148: "its I/O limits could not be set",
		150: "its disk image is missing", 151: "its disk image could not be made", 152: "its disk image could not be mounted",
		153: "its disk image could not be unmounted", 154: "its disk image could not be resized", 155: "its disk image could not be converted",
		156: "snapshot: create failed", 157: "snapshot: merge failed", 158: "snapshot: delete failed", 159: "snapshot: switch failed",
		160: "snapshot: mount failed", 161: "snapshot: unmount failed", 166: "its disk image could not be compacted", 167: "snapshots could not be listed",
	}
}

// vz7Codes are those that vzctl 7 has besides, or uses otherwise: OpenVZ/libvzctl@ebbfc384 lib/vzerror.h, which is to be
// trusted where the man page swaps 52 and 231 (FACTS §2).
func vz7Codes() map[int]string {
	codes := vzCodes()
	for code, words := range map[int]string{
		4: "no memory", 12: "no licence", 19: "unknown parameter", 25: "its traffic parameters are missing", 26: "its traffic parameters are bad",
		30: "its traffic class could not be set", 39: "an action was skipped", 42: "its private area is missing", 88: "its base is shared", 92: "recovery failed", 94: "reinstall failed",
		131: "a technology that it needs is not supported here", 135: "its memory information could not be set", 136: "its veth devices could not be set",
		137: "its name could not be set", 138: "no inittab inside", 140: "it could not be registered", 141: vzForeign, 142: "it could not be unregistered",
		162: "its DiskDescriptor.xml cannot be read", 163: "a disk image could not be added", 164: "a disk image could not be removed",
		206: "its configuration cannot be read", 207: "an operation holds its lock", 209: "waiting failed", 213: "timeout",
		226: "vcmmd refused", 228: "encryption failed", 231: "its file system is busy and cannot be unmounted", 232: "ploop failed", 233: "not supported",
	} {
		codes[code] = words
	}
	return codes
}

// vzForeign is exit 141: shared storage, and another node has it. Never start it here.
const vzForeign = "another node of the cluster owns it"

// What vzctl says besides, on every run, and what follows from a failure rather than causes it. The streams and words are
// those of the samples.
func vzNoise(line string) bool {
	for _, head := range []string{
		"Directory /proc/vz not found", "WARNING:", "grep: ", "/bin/sh: ", "Child ", "Container already locked", "Container start failed",
		"Unable to stop container: operation timed out", "Unable to apply network parameters", "Cannot lock the Container", "Failed to start the Container",
	} {
		if strings.HasPrefix(line, head) {
			return true
		}
	}
	return line == ""
}

// vzCause gives the innermost words of vzctl: the first line of its standard error that causes anything, since what
// follows are the consequences, outwards.
func vzCause(stderr []byte) string {
	for line := range strings.Lines(string(stderr)) {
		if line = tidy(line); !vzNoise(line) {
			return line
		}
	}
	return ""
}

// readVZAnswer takes an answer of vzctl: its exit code has a meaning, its standard error the cause.
func readVZAnswer(codes map[int]string) func(hostexec.Transcript, []byte) Answer {
	return func(t hostexec.Transcript, _ []byte) Answer {
		var a Answer
		a.Already = t.Exit == 32 // VZ_VE_RUNNING
		err := t.Err()
		if err == nil || a.Already {
			return a
		}
		a.Err = err.Error()
		a.Cause = vzCause(t.Stderr)
		if t.Exit <= 0 {
			return a
		}
		meaning, known := codes[t.Exit]
		if !known {
			meaning = "a code that is in no table of vzctl"
		}
		if a.Cause == "" {
			a.Cause = fmt.Sprintf("exit %d: %s", t.Exit, meaning)
		} else {
			a.Cause = fmt.Sprintf("%s (exit %d: %s)", a.Cause, t.Exit, meaning)
		}
		return a
	}
}
