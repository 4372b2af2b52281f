// A modal dialog that gives the focus back to what opened it, also when that was an entry of a menu.
import { Modal, type ModalProps } from "antd";
import { type RefObject, useEffect, useRef } from "react";

/** From an entry of a menu: the Enter that chose it must not press what has the focus in the dialog. */
export function openLater(open: () => void): void {
  window.setTimeout(open, 0);
}

interface Props extends ModalProps {
  /** What has the focus afterwards; otherwise what had it before. */
  back?: RefObject<HTMLElement | null>;
}

export function Dialog({ back, open, afterClose, ...rest }: Props) {
  const before = useRef<Element | null>(null);
  const giveBack = () => {
    const target = back?.current ?? before.current;
    if (target instanceof HTMLElement && target.isConnected) target.focus();
    else document.getElementById("main")?.focus();
  };
  useEffect(() => {
    if (!open) return undefined;
    before.current = document.activeElement;
    // Not when its animation ends: one that is closed while it opens has none.
    return () => void window.setTimeout(giveBack, 0);
  }, [open]);
  const closed = () => {
    if (document.activeElement === document.body) giveBack();
    afterClose?.();
  };
  return <Modal {...rest} open={open} afterClose={closed} focusable={{ trap: true, focusTriggerAfterClose: false }} destroyOnHidden />;
}
