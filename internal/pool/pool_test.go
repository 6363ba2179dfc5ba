package pool

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// resource counts how often it was ended.
type resource struct{ count atomic.Int32 }

func (r *resource) ended() int { return int(r.count.Load()) }

func (r *resource) Destruct() error {
	r.count.Add(1)
	return errors.New("ended")
}

func take(p *Pool, key any, keep time.Duration) (*resource, func() error) {
	v, release := p.Acquire(key, keep, func() any { return new(resource) })
	return v.(*resource), release
}

// A value is shared by its users, kept for its time after the last, and ended once.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(Pool)
		first, release := take(p, "a", time.Hour)
		second, again := take(p, "a", time.Hour)
		if second != first {
			t.Error("two configurations have values of their own")
		}
		for range 2 { // to release twice is to release once
			if err := errors.Join(release(), release()); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(2 * time.Hour)
		if third, release := take(p, "a", time.Hour); third != first || release() != nil {
			t.Error("a value that is used was dropped")
		}
		_ = again()
		time.Sleep(time.Hour - 1)
		third, release := take(p, "a", time.Hour)
		if third != first {
			t.Error("a value was dropped before its time")
		}
		_ = release()
		time.Sleep(time.Hour)
		if third, _ := take(p, "a", time.Hour); third == first || first.ended() != 1 {
			t.Errorf("after its time it was ended %d times", first.ended())
		}
	})
}

// A kept value ends in time, even if nothing is taken or released again.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(Pool)
		day, release := take(p, "day", 24*time.Hour)
		_ = release()
		hour, release := take(p, "hour", time.Hour)
		_ = release()
		for _, want := range []struct {
			after     time.Duration
			hour, day int
		}{{59 * time.Minute, 0, 0}, {2 * time.Minute, 1, 0}, {22 * time.Hour, 1, 0}, {time.Hour, 1, 1}} {
			time.Sleep(want.after)
			synctest.Wait()
			if hour.ended() != want.hour || day.ended() != want.day {
				t.Errorf("after %v more: ended %d and %d", want.after, hour.ended(), day.ended())
			}
		}
		if len(p.All()) != 0 {
			t.Error("something is left")
		}
	})
}

// A value that is not kept ends with its last user, whose release returns the error of the end.
func TestEndAtOnce(t *testing.T) {
	p := new(Pool)
	v, release := take(p, "a", 0)
	_, other := take(p, "a", 0)
	if err := release(); err != nil || v.ended() != 0 {
		t.Errorf("it ended with the first: %v", err)
	}
	if err := other(); err == nil || v.ended() != 1 || len(p.All()) != 0 {
		t.Errorf("ended %d times, %v, %d are left", v.ended(), err, len(p.All()))
	}
}

// No more than MaxIdle values are kept: those that end first go first, and none that is used.
func TestMaxIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(Pool)
		used, _ := take(p, "used", time.Minute)
		day, release := take(p, "day", 24*time.Hour)
		_ = release()
		var hours []*resource
		for i := range MaxIdle + 10 {
			time.Sleep(time.Second)
			v, release := take(p, i, time.Hour)
			hours = append(hours, v)
			_ = release()
		}
		if n := len(p.All()); n != MaxIdle+1 || used.ended()+day.ended() != 0 {
			t.Errorf("%d values, the one in use ended %d times, that of a day %d", n, used.ended(), day.ended())
		}
		for i, v := range hours {
			if want := map[bool]int{true: 1, false: 0}[i <= 10]; v.ended() != want {
				t.Errorf("%d ended %d times, want %d", i, v.ended(), want)
			}
		}
		if err := p.DropIdle(); err == nil || len(p.All()) != 1 || day.ended() != 1 || used.ended() != 0 {
			t.Errorf("%v, %d are left", err, len(p.All()))
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	p := new(Pool)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 500 {
				v, release := take(p, fmt.Sprint((i+n)%5), time.Duration(n%2)*time.Hour)
				if v.ended() != 0 {
					t.Error("in use, and ended")
				}
				_ = release()
			}
		})
	}
	wg.Wait()
}
