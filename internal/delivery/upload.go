package delivery

import (
	"context"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/roundtrip"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// upload uploads the files of part i that are not at the provider yet. ok is false if one of them
// failed; r is then a refusal, because certainly nothing was sent.
func (run *run) upload(ctx context.Context, route Route, plan *adapters.Plan, i int, token sms.Hidden) (r sms.Result, ok bool) {
	uploaded := false
	for plan.Uploads(i) > 0 {
		if r = run.uploadFile(ctx, route, plan, i, token); r.Outcome != sms.Accepted {
			return r, false
		}
		uploaded = true
	}
	if uploaded && run.tooLate(run.end) {
		r = unable(route, &sms.Refusal{Cause: sms.Unavailable, ByProvider: true})
		r.Detail = "the time was spent on the upload"
		return r, false
	}
	return sms.Result{}, true
}

// uploadFile uploads the next file of part i.
func (run *run) uploadFile(ctx context.Context, route Route, plan *adapters.Plan, i int, token sms.Hidden) sms.Result {
	ctx, cancel := context.WithDeadline(ctx, run.until(time.Now(), run.end))
	defer cancel()
	call, err := plan.UploadRequest(ctx, i, token, time.Now())
	if err != nil {
		return unable(route, err)
	}
	reply, err := roundtrip.Do(route.Transport, call.Request, nil, adapters.MaxReply)
	if err != nil {
		r := unable(route, &sms.Refusal{Cause: sms.Unavailable, ByProvider: true})
		r.Detail = "no upload: the provider cannot be reached"
		return r
	}
	return plan.ReadUpload(i, call, reply.Status, reply.Header, reply.Body, reply.Err == nil)
}
