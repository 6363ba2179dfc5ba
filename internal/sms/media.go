package sms

// The variants of refusals of pictures and files.
const (
	AttachmentUnreadable Variant = "attachment_unreadable"
	AttachmentAddress    Variant = "attachment_address"
	AttachmentKey        Variant = "attachment_key"
	NoAttachments        Variant = "no_attachments"
	TooManyFiles         Variant = "too_many_files"
)
